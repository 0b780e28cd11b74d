import getpass
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pytest
import sqlalchemy
import torch
from mlflow.entities import Run
from workspace import DEAD, ELSEWHERE, inside

from mnist12k.cnn.history import Epoch
from mnist12k.cnn.model_file import load_network, save_network
from mnist12k.cnn.settings import Train
from mnist12k.errors import UserError
from mnist12k.files import write_json
from mnist12k.fingerprint import file_md5
from mnist12k.outputs import (
    BACKPROP_METRICS,
    read_evaluate_result,
    read_history,
    read_train_result,
)
from mnist12k.params import Params, load_params
from mnist12k.paths import MODEL
from mnist12k.stages import evaluate, train
from mnist12k.tracking.logged_model import COMPARED, model_fault
from mnist12k.tracking.model import restore_model
from mnist12k.tracking.publish import PUBLISHED, faults, publish
from mnist12k.tracking.registry import CHAMPION, REGISTERED_MODEL, champion_fault
from mnist12k.tracking.runs import (
    EPOCH_METRICS,
    MODEL_MD5,
    PROCESS,
    colour,
    create_run,
    data_sets,
    live_run,
    log_epochs,
)
from mnist12k.tracking.store import BestEffort, connect

pytestmark = pytest.mark.slow


@pytest.fixture
def trained(workspace: Path) -> Params:
    """The parameters of the untracked training in the current folder."""
    return load_params(workspace / "params.yaml")


def trainings() -> list[Run]:
    client, experiment_id = connect()
    runs = client.search_runs([experiment_id])
    return [run for run in runs if "train.epochs" in run.data.params]


def content(run: Run) -> dict[str, Any]:
    """Return everything about a run that is determined by files."""
    client = connect()[0]
    artifacts = {
        file.path: Path(client.download_artifacts(run.info.run_id, file.path)).read_bytes()
        for folder in ("train", "evaluate")
        for file in client.list_artifacts(run.info.run_id, folder)
    }
    metrics = {
        name: [
            # A test metric has the time of publishing, an epoch the time of its end.
            (point.step, point.value, 0 if name.startswith("test/") else point.timestamp)
            for point in client.get_metric_history(run.info.run_id, name)
        ]
        for name in run.data.metrics
    }
    assert run.inputs is not None
    tags = {name: value.replace(run.info.run_id, "ID") for name, value in run.data.tags.items()}
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "start": run.info.start_time,
        "end": run.info.end_time,
        "params": run.data.params,
        "tags": tags,
        "metrics": metrics,
        "artifacts": artifacts,
        "inputs": [each.dataset.to_dictionary() for each in run.inputs.dataset_inputs],
        "model": client.get_model_version_by_alias(REGISTERED_MODEL, CHAMPION).description,
    }


def test_an_untracked_training_becomes_one_complete_run(trained: Params) -> None:
    publish(trained)
    (run,) = trainings()
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/accuracy"] > 0
    assert len(connect()[0].get_metric_history(run.info.run_id, "train/loss")) == 2


def test_publishing_again_does_nothing_and_takes_seconds(published: Params) -> None:
    before = [content(run) for run in trainings()]
    started = time.perf_counter()
    assert publish(published) == []
    assert time.perf_counter() - started < 10
    assert [content(run) for run in trainings()] == before


@pytest.mark.usefixtures("published")
def test_publishing_again_imports_neither_pytorch_nor_scipys_statistics_nor_optuna() -> None:
    code = (
        "import sys; from mnist12k.cli import main; code = main(['publish']); "
        "print(*sorted({'torch', 'scipy.stats', 'optuna'} & set(sys.modules))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "MLflow is up to date\n\n"


def test_a_run_says_who_ran_which_command_in_the_colour_of_its_recipe(published: Params) -> None:
    (run,) = trainings()
    tags = run.data.tags
    assert tags["mlflow.user"] == getpass.getuser()
    assert tags["mlflow.source.name"].startswith(Path(sys.argv[0]).stem)
    assert tags["mlflow.source.type"] == "LOCAL"
    assert tags["mlflow.runColor"] == colour(published.train.recipe)
    assert len({colour(recipe) for recipe in published.recipes}) == len(published.recipes)


def test_a_run_has_its_three_data_sets_and_their_digests_tell_them_apart(
    published: Params,
) -> None:
    (run,) = trainings()
    assert run.inputs is not None
    logged = {
        (each.tags[0].value, each.dataset.name, each.dataset.digest)
        for each in run.inputs.dataset_inputs
    }
    sets = data_sets(published.train)
    assert logged == {(context, each.name, each.digest) for context, each in sets.items()}
    assert len({each.digest for each in sets.values()}) == 2  # two halves of the same images
    other = data_sets(published.train.model_copy(update={"validation_size": 0}))
    assert set(other) == {"training", "test"}
    assert other["test"].digest == sets["test"].digest
    assert other["training"].digest != sets["training"].digest


def test_the_logged_model_has_its_metrics_by_data_set(published: Params) -> None:
    (run,) = trainings()
    client, experiment_id = connect()
    (model,) = client.search_logged_models([experiment_id])
    sets = data_sets(published.train)
    shown = {each.key: (each.value, each.dataset_name) for each in model.metrics or []}
    for name in ("test/accuracy", "test/loss", "validation/accuracy", "validation/loss"):
        context = name.partition("/")[0]
        assert shown[name] == (run.data.metrics[name], sets[context].name)
    history = client.get_metric_history(run.info.run_id, "validation/accuracy")
    assert len(history) == published.train.epochs  # the run's curve has no point twice


@pytest.mark.usefixtures("published")
def test_a_version_has_its_accuracy_and_the_whole_reason_of_its_promotion_as_tags() -> None:
    client, _ = connect()
    version = client.get_model_version_by_alias(REGISTERED_MODEL, CHAMPION)
    evaluated = read_evaluate_result()
    assert version.tags["test_accuracy"] == f"{evaluated.test_accuracy:.2%}"
    low, _, high = version.tags["test_accuracy_95"].partition(" to ")
    assert float(low[:-1]) <= 100 * evaluated.test_accuracy <= float(high[:-1])
    assert (version.tags["network"], version.tags["recipe"]) == ("reference", "best")
    assert version.tags["promotion"] == "Champion: there was none before."


@pytest.mark.usefixtures("published")
def test_a_deleted_store_is_rebuilt_field_by_field() -> None:
    (before,) = [content(run) for run in trainings()]
    rebuilt = Path.cwd().with_name("rebuilt")
    shutil.copytree(Path.cwd(), rebuilt, symlinks=True)
    with inside(rebuilt):
        Path("mlflow.db").unlink()
        shutil.rmtree("mlartifacts")
        publish(load_params())
        (after,) = [content(run) for run in trainings()]
    assert after == before


def test_a_live_run_and_a_rebuilt_one_show_the_same_curves(trained: Params) -> None:
    train.run(trained.train, live_run)
    evaluate.run(trained.evaluate)
    publish(trained)
    (live,) = trainings()
    for name in ("train/loss", "validation/accuracy", "train/learning_rate"):
        points = connect()[0].get_metric_history(live.info.run_id, name)
        assert [point.step for point in points] == [1, 2]
    connect()[0].delete_run(live.info.run_id)
    publish(trained)
    (rebuilt,) = trainings()
    metrics = {name: v for name, v in live.data.metrics.items() if not name.startswith("system/")}
    assert rebuilt.data.metrics == metrics
    assert rebuilt.data.params == live.data.params


def test_a_live_run_has_system_metrics_after_its_first_epoch(
    trained: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    with live_run(trained.train) as log_epoch:
        time.sleep(1)
        (run,) = trainings()
        assert run.data.metrics == {}
        log_epoch(Epoch(1, *[0.5] * len(EPOCH_METRICS)))
        time.sleep(1)
    (run,) = trainings()
    names = {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"}
    assert names <= set(run.data.metrics)


def test_a_killed_run_of_the_same_training_is_completed(trained: Params) -> None:
    killed = create_run(*connect(), trained.train, time.time())
    connect()[0].set_tag(killed, PROCESS, DEAD)
    publish(trained)
    (run,) = trainings()
    assert run.info.status == "FINISHED"


def test_a_killed_run_of_another_training_is_marked_and_named(trained: Params) -> None:
    other = trained.train.model_copy(update={"seed": 9})
    killed = create_run(*connect(), other, time.time())
    connect()[0].set_tag(killed, PROCESS, DEAD)
    assert any("was killed" in line for line in publish(trained))
    assert connect()[0].get_run(killed).info.status == "KILLED"


def test_the_run_of_a_live_process_is_left_alone(trained: Params) -> None:
    live = create_run(*connect(), trained.train, time.time())
    publish(trained)
    assert connect()[0].get_run(live).info.status == "RUNNING"
    assert len(trainings()) == 2


@pytest.mark.usefixtures("workspace")
def test_a_training_with_other_params_is_not_published() -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("seed: 1\n", "seed: 2\n", 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"has changed since models/cnn.pt was trained; run .dvc r"):
        publish(load_params())


@pytest.mark.parametrize(
    "path",
    [
        "models/cnn.pt",
        "reports/train/result.json",
        "reports/train/history.csv",
        "reports/evaluate/result.json",
        "reports/evaluate/predictions.csv",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "cut within a line", "cut between lines"])
def test_a_damaged_file_is_named_before_anything_is_logged(
    trained: Params, path: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if (path, damage) == ("reports/evaluate/result.json", "missing"):
        pytest.skip("not evaluated yet")
    break_file(Path(path), damage)
    with pytest.raises(UserError, match=f"^{path} ") as raised:
        publish(trained)
    assert not Path("mlflow.db").exists()
    BestEffort()(lambda: publish(trained))
    assert capsys.readouterr().err == f"mnist12k: warning: not logged to MLflow: {raised.value}\n"


def break_file(path: Path, damage: str) -> None:
    content = path.read_bytes()
    path.unlink()
    if damage == "cut within a line":
        path.write_bytes(content[:-3])
    elif damage == "cut between lines":
        path.write_bytes(content[: content[:-1].rindex(b"\n") + 1])


def test_a_damaged_study_is_an_error_after_the_training_is_published(trained: Params) -> None:
    BACKPROP_METRICS.parent.mkdir(parents=True)
    BACKPROP_METRICS.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=f"^{BACKPROP_METRICS} is damaged"):
        publish(trained)
    (run,) = trainings()
    assert run.info.status == "FINISHED"


def test_the_evaluation_of_another_model_is_not_logged(trained: Params) -> None:
    path = Path("reports/evaluate/result.json")
    metrics = read_evaluate_result().model_copy(update={"model_md5": "0" * 32})
    write_json(path, metrics)
    publish(trained)
    (run,) = trainings()
    client = connect()[0]
    artifacts = {file.path for file in client.list_artifacts(run.info.run_id, "train")}
    assert artifacts == {"train/history.csv", "train/result.json"}
    assert not client.list_artifacts(run.info.run_id, "evaluate")
    assert "test/accuracy" not in run.data.metrics
    assert PUBLISHED not in run.data.tags

    evaluate.run(trained.evaluate)
    publish(trained)
    (run,) = trainings()
    artifacts = {file.path for file in client.list_artifacts(run.info.run_id, "train")}
    assert "train/model_summary.txt" in artifacts
    artifacts = {file.path for file in client.list_artifacts(run.info.run_id, "evaluate")}
    assert "evaluate/curves.png" in artifacts
    assert PUBLISHED in run.data.tags


def test_a_server_that_is_down_costs_one_warning_and_seconds(
    trained: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    Path("models/cnn.pt").unlink()
    started = time.perf_counter()
    train.run(trained.train, live_run)
    assert time.perf_counter() - started < 60
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert "`mnist12k publish` adds what is missing" in warnings[0]
    assert Path("models/cnn.pt").is_file()


@pytest.mark.long
def test_a_store_that_locks_meanwhile_is_one_warning_and_is_completed_later(
    trained: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    connect()
    locked = sqlite3.connect("mlflow.db")
    with live_run(trained.train):
        locked.execute("BEGIN EXCLUSIVE")
    (warning,) = capsys.readouterr().err.splitlines()
    assert "warning: tracking failed" in warning
    assert "database is locked" in warning
    locked.rollback()
    locked.close()
    publish(trained)
    finished = [run for run in trainings() if run.info.status == "FINISHED"]
    assert len(finished) == 1


def test_after_one_failure_nothing_more_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    best_effort, done = BestEffort(), []

    def fails() -> None:
        raise OSError("disk full")

    best_effort(fails)
    best_effort(lambda: done.append(1))
    best_effort(fails)
    assert done == []
    assert capsys.readouterr().err.count("disk full") == 1


@pytest.mark.long
def test_of_two_simultaneous_runs_both_have_the_data_set(trained: Params) -> None:
    client, experiment_id = connect()
    run_ids: list[str] = []

    def start() -> str:
        return create_run(client, experiment_id, trained.train, time.time())

    # Start another run between MLflow's lookup of the data set and its insert.
    def start_another(*arguments: Any) -> None:
        if "FROM datasets" in arguments[2] and not run_ids:
            run_ids.append("")
            run_ids[0] = start()

    sqlalchemy.event.listen(sqlalchemy.Engine, "after_cursor_execute", start_another)
    try:
        run_ids.append(start())
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "after_cursor_execute", start_another)
    assert len(set(run_ids)) == 2
    for run_id in run_ids:
        inputs = client.get_run(run_id).inputs
        assert inputs is not None
        names = {each.dataset.name for each in inputs.dataset_inputs}
        assert names == {"mnist-training", "mnist-validation", "mnist-test"}


@contextmanager
def live_run_with_other_bits(settings: Train, resumes: bool) -> Iterator[Callable[[Epoch], None]]:
    with live_run(settings, resumes) as log_epoch:
        yield log_epoch
        network = load_network(MODEL, torch.device("cpu"))
        with torch.no_grad():
            next(network.head.parameters()).add_(1e-3)
        save_network(network, MODEL)


def retrain(trained: Params) -> None:
    """Train again with the same parameters, to other bits, as on another machine."""
    train.run(trained.train, live_run_with_other_bits)
    evaluate.run(trained.evaluate)


def test_training_again_to_other_bits_is_a_second_run_and_the_first_stays(
    published: Params,
) -> None:
    (first,) = trainings()
    before = content(first)
    retrain(published)
    publish(published)
    runs = {run.info.run_id: run for run in trainings()}
    assert len(runs) == 2
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert content(runs[first.info.run_id]) == before
    models = [run.data.tags[MODEL_MD5] for run in runs.values()]
    assert len(set(models)) == 2
    versions = connect()[0].search_model_versions(f"name = '{REGISTERED_MODEL}'")
    assert {version.run_id for version in versions} == set(runs)


def test_publish_creates_a_run_for_a_model_that_no_run_has(published: Params) -> None:
    retrain(published)
    for run in trainings():
        connect()[0].set_tag(run.info.run_id, MODEL_MD5, "0" * 32)
        connect()[0].set_tag(run.info.run_id, PUBLISHED, "")
    before = {run.info.run_id for run in trainings()}
    publish(published)
    (new,) = [run for run in trainings() if run.info.run_id not in before]
    assert new.data.tags[MODEL_MD5] == file_md5(MODEL)
    assert before <= {run.info.run_id for run in trainings()}


def test_a_resumed_training_continues_the_run_that_was_interrupted(trained: Params) -> None:
    client, experiment_id = connect()
    interrupted = create_run(client, experiment_id, trained.train, time.time())
    log_epochs(client, interrupted, read_history(read_train_result())[:1], time.time())
    client.set_tag(interrupted, PROCESS, DEAD)
    with live_run(trained.train, resumes=True) as log_epoch:
        for row in read_history(read_train_result()).itertuples(index=False):
            log_epoch(Epoch(*row))
    (run,) = trainings()
    assert run.info.run_id == interrupted
    assert run.info.status == "FINISHED"
    points = client.get_metric_history(interrupted, "train/loss")
    assert sorted(point.step for point in points) == [1, 2]


def test_a_training_that_was_killed_before_its_first_epoch_is_one_run(trained: Params) -> None:
    client, experiment_id = connect()
    interrupted = create_run(client, experiment_id, trained.train, time.time())
    client.set_tag(interrupted, PROCESS, DEAD)
    with live_run(trained.train):
        pass
    (run,) = trainings()
    assert (run.info.run_id, run.info.status) == (interrupted, "FINISHED")


def test_an_interrupted_run_of_another_machine_is_left_alone(trained: Params) -> None:
    client, experiment_id = connect()
    other = create_run(client, experiment_id, trained.train, time.time())
    client.set_tag(other, PROCESS, ELSEWHERE)
    with live_run(trained.train, resumes=True):
        pass
    publish(trained)
    assert client.get_run(other).info.status == "RUNNING"
    assert len(trainings()) == 2


def empty_the_trash() -> None:
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri"]
    subprocess.run([*command, mlflow.get_tracking_uri()], check=True, capture_output=True)


def delete_run() -> None:
    (run,) = trainings()
    connect()[0].delete_run(run.info.run_id)


def delete_run_for_good() -> None:
    delete_run()
    empty_the_trash()


def delete_alias() -> None:
    connect()[0].delete_registered_model_alias(REGISTERED_MODEL, CHAMPION)


def delete_version() -> None:
    connect()[0].delete_model_version(REGISTERED_MODEL, "1")


def delete_registered_model() -> None:
    connect()[0].delete_registered_model(REGISTERED_MODEL)


def delete_logged_model() -> None:
    client, experiment_id = connect()
    (model,) = client.search_logged_models([experiment_id])
    client.delete_logged_model(model.model_id)


def delete_artifacts() -> None:
    shutil.rmtree("mlartifacts")


def truncate_artifact() -> None:
    (path,) = Path("mlartifacts").rglob("predictions.csv")
    path.write_bytes(path.read_bytes()[:-9])


def truncate_logged_model() -> None:
    (path,) = Path("mlartifacts").rglob("*.pt2")
    path.write_bytes(path.read_bytes()[:-9])


def change_file_beside_the_weights() -> None:
    (path,) = Path("mlartifacts").rglob("requirements.txt")
    path.write_text("mlflow==0.1\n", encoding="utf-8")


def change_file_of_a_model_without_its_note() -> None:
    """As in a store from before the note."""
    change_file_beside_the_weights()
    client, experiment_id = connect()
    (model,) = client.search_logged_models([experiment_id])
    client.delete_logged_model_tag(model.model_id, COMPARED)


def swap_logged_model() -> None:
    """Put another network's weights into the logged model."""
    content = MODEL.read_bytes()
    network = load_network(MODEL, torch.device("cpu"))
    with torch.no_grad():
        next(network.head.parameters()).add_(0.1)
    save_network(network, MODEL)
    client, experiment_id = connect()
    (model,) = client.search_logged_models([experiment_id])
    restore_model(client, str(model.source_run_id), f"models:/{model.model_id}")
    MODEL.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "fault", "line"),
    [
        (delete_run, "the run of the training is missing", "was in the trash, and is restored"),
        (delete_run_for_good, "the run of the training is missing", "is complete"),
        (delete_alias, "has no champion", "version 1 is champion: there was none"),
        (delete_version, "has no version of the run", "version 2: Test accuracy"),
        (delete_registered_model, "has no version of the run", "version 1: Test accuracy"),
        (delete_logged_model, "has no usable model", ""),
        (delete_artifacts, "has no usable model", "files, which are logged again"),
        (truncate_artifact, "lacks 1 files, reports/evaluate/predictions.csv", "1 files, which"),
        (truncate_logged_model, "has no usable model", "had no usable model, which is logged ag"),
        (change_file_beside_the_weights, "has no usable model", "had no usable model"),
        (change_file_of_a_model_without_its_note, "has no usable model", "had no usable model"),
        (swap_logged_model, "has no usable model", "had no usable model, which is logged again"),
    ],
)
def test_what_the_store_has_lost_is_named_and_repaired(
    published: Params, damage: Callable[[], None], fault: str, line: str
) -> None:
    (before,) = [content(run) for run in trainings()]
    assert faults(*connect(), published) == []
    damage()
    assert fault in "; ".join(faults(*connect(), published))
    assert line in "; ".join(publish(published))
    assert faults(*connect(), published) == []
    assert publish(published) == []
    (after,) = [content(run) for run in trainings()]
    for key in ("params", "metrics", "artifacts", "inputs", "status"):
        assert after[key] == before[key]
    assert model_fault(f"models:/{REGISTERED_MODEL}@{CHAMPION}") == ""
    assert champion_fault(connect()[0]) == ""


def test_a_model_whose_logging_was_interrupted_is_completed(published: Params) -> None:
    client, experiment_id = connect()
    client.delete_registered_model(REGISTERED_MODEL)
    (model,) = client.search_logged_models([experiment_id])
    shutil.rmtree(Path("mlartifacts/models"))
    with closing(sqlite3.connect("mlflow.db")) as store, store:
        store.execute("UPDATE logged_models SET status = 1")
    assert str(client.get_logged_model(model.model_id).status) == "PENDING"
    assert any("has no usable model" in fault for fault in faults(*connect(), published))
    publish(published)
    (after,) = client.search_logged_models([experiment_id])
    assert (after.model_id, str(after.status)) == (model.model_id, "READY")
    assert faults(*connect(), published) == []


def test_lost_metrics_and_parameters_are_logged_again(published: Params) -> None:
    (before,) = [content(run) for run in trainings()]
    with closing(sqlite3.connect("mlflow.db")) as store, store:
        for table in ("metrics", "latest_metrics", "params"):
            store.execute(f"DELETE FROM {table}")  # noqa: S608
    publish(published)
    (after,) = [content(run) for run in trainings()]
    assert after == before


def test_a_champion_that_cannot_be_loaded_is_named_and_does_not_block_the_next_model(
    published: Params,
) -> None:
    (path,) = Path("mlartifacts").rglob("*.pt2")
    retrain(published)
    for run in trainings():
        connect()[0].delete_run(run.info.run_id)
    path.unlink()
    assert "version 1, the champion, cannot be loaded" in champion_fault(connect()[0])
    outcome = "; ".join(publish(published))
    assert "version 2: Test accuracy" in outcome
    assert "Champion: version 1 cannot be loaded (" in outcome
    assert champion_fault(connect()[0]) == ""


@pytest.mark.long
def test_of_two_simultaneous_publishes_both_succeed_and_one_run_is_complete(
    trained: Params,
) -> None:
    command = [sys.executable, "-m", "mnist12k", "publish"]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum("MLflow is up to date" in output for output in outputs) == 1, outputs
    (run,) = trainings()
    assert run.info.status == "FINISHED"
    assert len(connect()[0].search_model_versions(f"name = '{REGISTERED_MODEL}'")) == 1
    assert faults(*connect(), trained) == []


def test_variables_left_in_the_shell_do_no_harm(
    trained: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "MLFLOW_EXPERIMENT_NAME": "another",
        "MLFLOW_EXPERIMENT_ID": "77",
        "MLFLOW_RUN_ID": "0" * 32,
        "MLFLOW_ACTIVE_MODEL_ID": "m-1",
        "MLFLOW_REGISTRY_URI": "http://127.0.0.1:9",
        "MLFLOW_ENABLE_ASYNC_LOGGING": "true",
    }.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "mnist12k", "publish"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    monkeypatch.delenv("MLFLOW_REGISTRY_URI")
    assert len(trainings()) == 1
    assert faults(*connect(), trained) == []
    assert [each.name for each in connect()[0].search_experiments()] == ["mnist12k", "Default"]


def test_a_deleted_experiment_is_restored_with_its_runs(
    published: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = trainings()
    client, experiment_id = connect()
    client.delete_experiment(experiment_id)
    publish(published)
    assert "the experiment mnist12k was deleted, and is restored" in capsys.readouterr().err
    assert run.info.run_id in {run.info.run_id for run in trainings()}


def test_without_git_a_run_lacks_its_commit_and_nothing_else(
    trained: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "git", None)  # importing it raises ImportError
    publish(trained)
    (run,) = trainings()
    assert run.info.status == "FINISHED"
    assert "mlflow.source.git.commit" not in run.data.tags
    assert capsys.readouterr().err.count("warning: the git commit is unknown") == 1
