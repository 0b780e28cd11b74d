import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from mlflow.entities import Run
from workspace import inside, make_workspace, train_and_evaluate

from mnist12k.errors import UserError
from mnist12k.params import Params, load_params
from mnist12k.stages import evaluate, train
from mnist12k.tracking.attempts import Attempts
from mnist12k.tracking.live import live_run
from mnist12k.tracking.publish import publish
from mnist12k.tracking.registry import CHAMPION, MODEL
from mnist12k.tracking.runs import PROCESS, create_run
from mnist12k.tracking.store import connect

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, idx_folder: Path) -> Path:
    """A workspace with a training that nothing tracked."""
    folder = tmp_path_factory.mktemp("trained")
    make_workspace(folder, idx_folder)
    with inside(folder):
        train_and_evaluate()
    return folder


@pytest.fixture
def workspace(trained: Path, tmp_path: Path) -> Iterator[Params]:
    """A copy of it with a store of its own, as the current folder."""
    shutil.copytree(trained, tmp_path / "project", symlinks=True)
    with inside(tmp_path / "project"):
        yield load_params()


def trainings() -> list[Run]:
    client, experiment_id = connect()
    runs = client.search_runs([experiment_id])
    return [run for run in runs if "train.epochs" in run.data.params]


def shown(run: Run) -> dict[str, Any]:
    """Everything about a run that its files decide."""
    client = connect()[0]
    artifacts = {
        file.path: Path(client.download_artifacts(run.info.run_id, file.path)).read_bytes()
        for folder in ("train", "evaluate")
        for file in client.list_artifacts(run.info.run_id, folder)
    }
    metrics = {
        name: [
            # The test is measured anew whenever it is published; epochs have their own time.
            (point.step, point.value, 0 if name.startswith("test/") else point.timestamp)
            for point in client.get_metric_history(run.info.run_id, name)
        ]
        for name in run.data.metrics
    }
    assert run.inputs is not None
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "start": run.info.start_time,
        "end": run.info.end_time,
        "params": run.data.params,
        "tags": run.data.tags,
        "metrics": metrics,
        "artifacts": artifacts,
        "inputs": [given.dataset.to_dictionary() for given in run.inputs.dataset_inputs],
        "model": client.get_model_version_by_alias(MODEL, CHAMPION).description,
    }


def test_a_training_that_nothing_tracked_becomes_one_complete_run(workspace: Params) -> None:
    publish(workspace)
    (run,) = trainings()
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/accuracy"] > 0
    assert len(connect()[0].get_metric_history(run.info.run_id, "train/loss")) == 2


def test_publishing_again_does_nothing_and_takes_seconds(workspace: Params) -> None:
    publish(workspace)
    before = [shown(run) for run in trainings()]
    started = time.perf_counter()
    assert publish(workspace) == []
    assert time.perf_counter() - started < 10
    assert [shown(run) for run in trainings()] == before


def test_a_deleted_store_comes_back_field_by_field(workspace: Params) -> None:
    publish(workspace)
    (before,) = [shown(run) for run in trainings()]
    lost = Path.cwd() / "mlflow.db"
    shutil.copytree(Path.cwd(), Path.cwd().with_name("anew"), symlinks=True)
    with inside(lost.parent.with_name("anew")):
        Path("mlflow.db").unlink()
        shutil.rmtree("mlartifacts")
        publish(load_params())
        (after,) = [shown(run) for run in trainings()]
    assert after == before


def test_a_live_run_and_a_rebuilt_one_show_the_same_curves(workspace: Params) -> None:
    train.run(workspace, live_run)
    evaluate.run(workspace)
    publish(workspace)
    (live,) = trainings()
    for name in ("train/loss", "validation/accuracy", "learning_rate"):
        points = connect()[0].get_metric_history(live.info.run_id, name)
        assert [point.step for point in points] == [1, 2]
    connect()[0].delete_run(live.info.run_id)
    publish(workspace)
    (rebuilt,) = trainings()
    ours = {name: v for name, v in live.data.metrics.items() if not name.startswith("system/")}
    assert rebuilt.data.metrics == ours
    assert rebuilt.data.params == live.data.params


def test_a_live_run_holds_what_the_machine_was_doing(
    workspace: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    with live_run(workspace):
        time.sleep(1)
    (run,) = trainings()
    measured = {name for name in run.data.metrics if name.startswith("system/")}
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= measured


def test_a_killed_run_of_the_same_training_gives_way_to_the_complete_one(
    workspace: Params,
) -> None:
    killed = create_run(*connect(), workspace, time.time())
    connect()[0].set_tag(killed, PROCESS, f"{socket.gethostname()}/999999999@1")
    publish(workspace)
    (run,) = trainings()
    assert run.info.status == "FINISHED"


def test_a_killed_run_of_another_training_is_marked_and_named(workspace: Params) -> None:
    other = workspace.model_copy(update={"train": workspace.train.model_copy(update={"seed": 9})})
    killed = create_run(*connect(), other, time.time())
    connect()[0].set_tag(killed, PROCESS, f"{socket.gethostname()}/999999999@1")
    assert any("had been killed" in line for line in publish(workspace))
    assert connect()[0].get_run(killed).info.status == "KILLED"


def test_a_run_whose_process_lives_is_left_alone(workspace: Params) -> None:
    live = create_run(*connect(), workspace, time.time())
    publish(workspace)
    assert connect()[0].get_run(live).info.status == "RUNNING"
    assert len(trainings()) == 2


def test_a_workspace_that_has_moved_on_from_its_training_is_not_published(
    workspace: Params,
) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("seed: 1\n", "seed: 2\n", 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"has changed since models/cnn.pt was trained; .dvc repro"):
        publish(load_params())
    assert workspace.train.seed == 1


def test_without_a_training_the_error_says_what_makes_one(workspace: Params) -> None:
    Path("reports/train/metrics.json").unlink()
    with pytest.raises(UserError, match=r"metrics.json is absent; .dvc repro. makes it"):
        publish(workspace)


def test_a_server_that_is_down_costs_one_warning_and_seconds(
    workspace: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    Path("models/cnn.pt").unlink()
    started = time.perf_counter()
    train.run(workspace, live_run)
    assert time.perf_counter() - started < 60
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert "`mnist12k publish` adds what is missing" in warnings[0]
    assert Path("models/cnn.pt").is_file()


def test_a_store_that_locks_in_the_middle_stops_nothing_and_is_completed_later(
    workspace: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    connect()
    locked = sqlite3.connect("mlflow.db")
    with live_run(workspace):
        locked.execute("BEGIN EXCLUSIVE")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "warning: tracking failed" in told[0]
    assert "database is locked" in told[0]
    locked.rollback()
    locked.close()
    publish(workspace)
    finished = [run for run in trainings() if run.info.status == "FINISHED"]
    assert len(finished) == 1


def test_after_one_failure_nothing_more_is_attempted(capsys: pytest.CaptureFixture[str]) -> None:
    attempt, done = Attempts(), []

    def fails() -> None:
        raise OSError("disk full")

    attempt(fails)
    attempt(lambda: done.append(1))
    attempt(fails)
    assert done == []
    assert capsys.readouterr().err.count("disk full") == 1


def test_two_runs_that_record_the_data_set_in_the_same_moment_both_keep_it(
    workspace: Params,
) -> None:
    client, experiment_id = connect()
    begun: list[str] = []

    def begin() -> str:
        return create_run(client, experiment_id, workspace, time.time())

    # MLflow adds a data set that it has not found: here another run comes between.
    def another_comes_between(*given: Any) -> None:
        if "FROM datasets" in given[2] and not begun:
            begun.append("")
            begun[0] = begin()

    sqlalchemy.event.listen(sqlalchemy.Engine, "after_cursor_execute", another_comes_between)
    try:
        begun.append(begin())
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "after_cursor_execute", another_comes_between)
    assert len(set(begun)) == 2
    for run_id in begun:
        inputs = client.get_run(run_id).inputs
        assert inputs is not None
        (data,) = inputs.dataset_inputs
        assert data.dataset.name == "mnist"
