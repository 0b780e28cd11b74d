import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from conftest import ROOT
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from project import Project
from team_server import USERS, TeamServer, find_postgresql, postgresql
from workspace import inside, make_workspace

from mnist12k import cli
from mnist12k.cnn.model_file import load_network
from mnist12k.doctor import check_store
from mnist12k.params import load_params
from mnist12k.stages import evaluate, train
from mnist12k.tracking.live import live_run
from mnist12k.tracking.publish import PUBLISHED, publish
from mnist12k.tracking.registry import CHAMPION, MODEL
from mnist12k.tracking.runs import FINGERPRINT
from mnist12k.tracking.store import connect

PROGRAMS = find_postgresql()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAMS is None, reason="PostgreSQL is not installed"),
    # torch.export's archive reader tells of a read-only buffer that it does not write to.
    pytest.mark.filterwarnings("ignore:The given buffer is not writable:UserWarning"),
]
ANN, BOB = USERS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    """A server on which nothing is logged yet, and which knows Ann and Bob."""
    assert PROGRAMS is not None
    with postgresql(PROGRAMS) as database:
        server = TeamServer(tmp_path_factory.mktemp("server"), database)
        server.start()
        try:
            server.create_users()
            yield server
        finally:
            server.kill()


def workspace(folder: Path, idx_folder: Path, seed: int, epochs: int = 2) -> Path:
    """Make a workspace whose training no other test's is taken for."""
    folder.mkdir(exist_ok=True)
    make_workspace(folder, idx_folder)
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    text = text.replace("seed: 1\n", f"seed: {seed}\n", 1)
    text = text.replace("epochs: 2\n", f"epochs: {epochs}\n", 1)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    return folder


@contextmanager
def working_in(folder: Path, variables: Mapping[str, str]) -> Iterator[None]:
    with inside(folder), pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


def begin(folder: Path, variables: dict[str, str], *commands: str) -> subprocess.Popen[str]:
    """Start these commands of ours, one after the other, in a process of their own."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    # One thread each: four pipelines of a team do not share two cores.
    ours |= {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    program = f"from mnist12k.cli import main; print([main([name]) for name in {commands!r}])"
    return subprocess.Popen(
        [sys.executable, "-u", "-c", program],
        cwd=folder,
        env=ours | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def warnings_in(told: str) -> Sequence[str]:
    return [line for line in told.splitlines() if "warning" in line]


def runs_of_training(folder: Path) -> list[Run]:
    """Return the runs of the training in a workspace."""
    trained = json.loads((folder / "reports/train/metrics.json").read_text())
    client, experiment_id = connect()
    runs = client.search_runs([experiment_id], f"tags.`{FINGERPRINT}` = '{trained['fingerprint']}'")
    return list(runs)


def versions_of(run: Run) -> list[ModelVersion]:
    found = connect()[0].search_model_versions(f"name = '{MODEL}'")
    return [version for version in found if version.run_id == run.info.run_id]


def assert_complete(folder: Path) -> Run:
    """Compare all that the server holds of a workspace's training with its files."""
    client, _ = connect()
    (run,) = runs_of_training(folder)
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    with (folder / "reports/train/history.csv").open(newline="") as file:
        history = list(csv.DictReader(file))
    for metric, column in {
        "learning_rate": "learning_rate",
        "train/loss": "train_loss",
        "train/accuracy": "train_accuracy",
        "validation/loss": "validation_loss",
        "validation/accuracy": "validation_accuracy",
        "seconds": "seconds",
    }.items():
        points = client.get_metric_history(run.info.run_id, metric)
        logged = sorted((point.step, point.value) for point in points)
        assert logged == [(int(row["epoch"]), float(row[column])) for row in history]
    tested = json.loads((folder / "reports/evaluate/metrics.json").read_text())
    assert run.data.metrics["test/accuracy"] == tested["test_accuracy"]
    for stage in ("train", "evaluate"):
        there = {file.path for file in client.list_artifacts(run.info.run_id, stage)}
        assert there == {f"{stage}/{path.name}" for path in (folder / "reports" / stage).iterdir()}
    assert PUBLISHED in run.data.tags
    (version,) = versions_of(run)
    assert "of the test images" in str(version.description)
    return run


def test_four_pipelines_of_two_users_at_once_lose_nothing(
    server: TeamServer, tmp_path: Path, idx_folder: Path
) -> None:
    folders = [workspace(tmp_path / str(seed), idx_folder, seed) for seed in (11, 12, 13, 14)]
    processes = [
        begin(folder, server.variables(user), "train", "evaluate")
        for folder, user in zip(folders, (ANN, BOB, ANN, BOB), strict=True)
    ]
    for process in processes:
        told, _ = process.communicate(timeout=300)
        assert told.splitlines()[-1] == "[0, 0]"
        assert warnings_in(told) == []
    with working_in(tmp_path, server.variables(ANN)):
        runs = [assert_complete(folder) for folder in folders]
        assert len({run.info.run_id for run in runs}) == 4
        client, _ = connect()
        versions = client.search_model_versions(f"name = '{MODEL}'")
        assert sorted(int(version.version) for version in versions) == [1, 2, 3, 4]
        aliases = client.get_registered_model(MODEL).aliases
        assert list(aliases) == [CHAMPION]
        champion = client.get_model_version(MODEL, aliases[CHAMPION])
        assert " Champion: " in str(champion.description)


def test_the_pipeline_logs_to_a_server_by_the_variables_alone(
    server: TeamServer, tmp_path: Path, idx_folder: Path, idx_sha256: Mapping[str, str]
) -> None:
    project = Project(tmp_path, idx_folder, idx_sha256)
    project.variables = server.variables(ANN)
    told = project.run("dvc", "repro")
    assert told.count("Running stage") == 5
    assert warnings_in(told) == []
    assert not (project.root / "mlflow.db").exists()
    assert not (project.root / "mlartifacts").exists()
    with working_in(project.root, server.variables(BOB)):
        run = assert_complete(project.root)
        client, experiment_id = connect()
        studies = client.search_runs([experiment_id], "params.learning_rate = '0.5'")
        assert [study.info.status for study in studies] == ["FINISHED"]
        (version,) = versions_of(run)
        model = mlflow.pyfunc.load_model(f"models:/{MODEL}/{version.version}")
        assert check_store().mend == ""
    kept = [path.name for path in (server.folder / "artifacts").rglob("*") if path.is_file()]
    assert {"predictions.csv", "history.csv", "hill.png", "model.pt2"} <= set(kept)
    images = np.random.default_rng(1).random((3, 1, 28, 28), dtype=np.float32)
    network = load_network(project.root / "models/cnn.pt", torch.device("cpu"))
    with torch.no_grad():
        logits = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(model.predict(images), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("given", [{}, {"MLFLOW_TRACKING_PASSWORD": "not-hers"}])
def test_a_user_whom_the_server_refuses_trains_and_is_told_why(
    server: TeamServer,
    tmp_path: Path,
    idx_folder: Path,
    capsys: pytest.CaptureFixture[str],
    given: dict[str, str],
) -> None:
    folder = workspace(tmp_path, idx_folder, seed=21, epochs=1)
    variables = server.variables(ANN) | given if given else {"MLFLOW_TRACKING_URI": server.address}
    with working_in(folder, variables):
        train.run(load_params(), live_run)
        (warning,) = warnings_in(capsys.readouterr().err)
        assert "lets nobody in by this MLFLOW_TRACKING_USERNAME" in warning
        load_network(Path("models/cnn.pt"), torch.device("cpu"))
        found = check_store()
        assert "lets nobody in" in found.found
        assert found.mend
        assert cli.main(["publish"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("mnist12k: error: tracking failed (the server lets nobody in")


def test_a_server_that_hangs_costs_one_warning_and_seconds(
    server: TeamServer, tmp_path: Path, idx_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = workspace(tmp_path, idx_folder, seed=22)
    with working_in(folder, server.variables(ANN)):
        server.signal(signal.SIGSTOP)
        try:
            started = time.perf_counter()
            train.run(load_params(), live_run)
            assert time.perf_counter() - started < 45
        finally:
            server.signal(signal.SIGCONT)
        assert len(warnings_in(capsys.readouterr().err)) == 1
        load_network(Path("models/cnn.pt"), torch.device("cpu"))


def test_a_server_that_dies_in_a_training_costs_one_warning_and_is_completed_later(
    server: TeamServer, tmp_path: Path, idx_folder: Path
) -> None:
    folder = workspace(tmp_path, idx_folder, seed=23, epochs=8)
    with begin(folder, server.variables(ANN), "train") as process:
        assert process.stdout is not None
        told = ""
        for line in process.stdout:
            told += line
            if line.startswith("epoch 2/8"):
                server.kill()
    with working_in(folder, server.variables(ANN)):
        try:
            assert told.splitlines()[-1] == "[0]"
            (warning,) = warnings_in(told)
            assert "`mnist12k publish` adds what is missing" in warning
            assert "Traceback" not in told
            params = load_params()
            evaluate.run(params)  # reads models/cnn.pt, and nothing of MLflow
        finally:
            server.start()
        (broken_off,) = runs_of_training(folder)
        assert broken_off.info.status == "RUNNING"
        assert check_store().mend == "`mnist12k publish`"
        publish(params)
        assert assert_complete(folder).info.run_id == broken_off.info.run_id
