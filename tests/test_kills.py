"""Whenever the machine dies, the next `make repro` ends with one complete run."""

import gzip
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from project import CONTRACT, Project
from servers import environment
from workspace import inside

from mnist12k.params import load_params
from mnist12k.tracking.registry import REGISTERED_MODEL
from mnist12k.tracking.runs import FINGERPRINT
from mnist12k.tracking.store import connect

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL to send to a group"),
]
MAKE_REPRO = ("make", "-o", ".venv/.installed", "repro")  # -o: it is installed
SLOW = gzip.compress(b"") * 300_000  # takes seconds to unpack, to nothing

Begun = Callable[[str], bool]  # whether to kill a command now, given its output so far


@pytest.fixture
def slow_source(tmp_path: Path, idx_folder: Path) -> Path:
    """A folder with the four files that takes seconds to unpack."""
    folder = tmp_path / "slow"
    folder.mkdir()
    for path in idx_folder.iterdir():
        content = gzip.compress(path.read_bytes())
        (folder / f"{path.name}.gz").write_bytes(content + SLOW)
    return folder


def fetching(project: Project) -> Begun:
    shutil.rmtree(project.root / "data/mnist", ignore_errors=True)
    return lambda _: any((project.root / "data").glob(".tmp-*/new/MNIST/raw/*"))


def studying(project: Project) -> Begun:
    project.edit("iterations: 20", "iterations: 21")
    before = count(project, "runs")
    return lambda _: count(project, "runs") > before


def training(project: Project) -> Begun:
    project.edit("seed: 1\n", "seed: 2\n")
    return lambda output: "epoch 1/2" in output


def evaluating(project: Project) -> Begun:
    project.edit("momentum: null", "momentum: 0.8")  # another training to evaluate
    predictions = project.root / "reports/evaluate/predictions.csv"
    before = predictions.read_bytes() if predictions.exists() else b""
    return lambda _: predictions.exists() and predictions.read_bytes() != before


def publishing(project: Project) -> Begun:
    project.run(*MAKE_REPRO)
    (project.root / "mlflow.db").unlink()
    shutil.rmtree(project.root / "mlartifacts")
    return lambda _: count(project, "logged_models") > 0


@pytest.mark.parametrize(
    ("stage", "prepare"),
    [
        ("fetch", fetching),
        ("backprop", studying),
        ("train", training),
        ("evaluate", evaluating),
    ],
)
def test_after_a_kill_in_a_stage_make_repro_leaves_one_complete_run(
    project: Project,
    slow_source: Path,
    idx_folder: Path,
    stage: str,
    prepare: Callable[[Project], Begun],
) -> None:
    project.edit(f"source: {idx_folder}", f"source: {slow_source}")
    output = kill(project, "dvc", "repro", as_soon_as=prepare(project))
    assert output.rpartition("Running stage '")[2].startswith(f"{stage}'")
    assert f"Running stage '{stage}'" in project.run(*MAKE_REPRO)
    assert_one_complete_run(project)
    assert "Running stage" not in project.run("dvc", "repro")


def test_after_a_kill_while_publishing_make_repro_leaves_one_complete_run(
    project: Project,
) -> None:
    kill(project, "mnist12k", "publish", as_soon_as=publishing(project))
    assert "is complete" in project.run(*MAKE_REPRO)
    assert_one_complete_run(project)


# Stops with half of the store written, so that the kill finds it there on any machine.
HALF_A_STORE = """
import pathlib, time, sqlalchemy
from mnist12k.tracking.store import connect

@sqlalchemy.event.listens_for(sqlalchemy.Engine, "after_cursor_execute")
def stop_halfway(*_):
    if sum(path.stat().st_size for path in pathlib.Path().rglob("mlflow.db")) >= 200_000:
        print("halfway", flush=True)
        time.sleep(600)

connect()
"""


def test_a_store_whose_creation_was_killed_is_created_again(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HALF_A_STORE],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "halfway\n"
        process.kill()
    assert list(tmp_path.glob(".tmp-*/mlflow.db"))
    assert not (tmp_path / "mlflow.db").exists()
    with inside(tmp_path):
        client, experiment_id = connect()
        assert client.search_runs([experiment_id]) == []


def kill(project: Project, *command: str, as_soon_as: Begun) -> str:
    """Start a command, kill it and whatever it has started, and return what it had printed."""
    log = project.root.with_name(f"{project.root.name}.log")
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=project.root,
            env=project.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            while not as_soon_as(log.read_text(encoding="utf-8")):
                assert process.poll() is None, log.read_text(encoding="utf-8")
                time.sleep(0.002)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return log.read_text(encoding="utf-8")


def count(project: Project, table: str) -> int:
    """Count what another process has written into the store so far."""
    address = f"file:{project.root / 'mlflow.db'}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as store:
            return int(store.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608
    except sqlite3.OperationalError:  # it is not there yet, or is being written to
        return 0


def the_run(project: Project) -> str:
    """Return the id of the one run of the training in the workspace."""
    path = project.root / "reports/train/result.json"
    fingerprint = json.loads(path.read_text(encoding="utf-8"))["fingerprint"]
    (run,) = [run for run in project.runs() if run.data.tags[FINGERPRINT] == fingerprint]
    return str(run.info.run_id)


def assert_one_complete_run(project: Project) -> None:
    assert [path for path in CONTRACT if not (project.root / path).is_file()] == []
    client = project.client()
    run = client.get_run(the_run(project))
    runs = client.search_runs([run.info.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    tops = [run for run in runs if MLFLOW_PARENT_RUN_ID not in run.data.tags]
    assert max(Counter(run.data.tags[FINGERPRINT] for run in tops).values()) == 1

    evaluated = project.root / "reports/evaluate/result.json"
    accuracy = json.loads(evaluated.read_text(encoding="utf-8"))["test_accuracy"]
    assert run.data.metrics["test/accuracy"] == accuracy
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")]
    assert sorted(steps) == [1, 2]
    versions = client.search_model_versions(f"name = '{REGISTERED_MODEL}'")
    assert [version.run_id for version in versions].count(run.info.run_id) == 1
    assert_one_study(project, client, run.info.experiment_id)


def assert_one_study(project: Project, client: MlflowClient, experiment_id: str) -> None:
    study = load_params(project.root / "params.yaml").backprop
    (parent,) = client.search_runs(
        [experiment_id], f"params.`backprop.iterations` = '{study.iterations}'"
    )
    children = client.search_runs(
        [experiment_id], f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}'"
    )
    rates = sorted(float(child.data.params["learning_rate"]) for child in children)
    assert rates == sorted(study.learning_rates)
