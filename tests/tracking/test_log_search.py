from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from tune_command import with_tune
from workspace import DEAD, inside, make_workspace, search_metrics

from mnist12k.cnn.history import Epoch
from mnist12k.errors import UserError
from mnist12k.files import write_json, write_table
from mnist12k.outputs import FINALISTS, TRIAL_EPOCHS, TRIALS, TUNE_METRICS
from mnist12k.params import Params, load_params
from mnist12k.search.digest import study_digest
from mnist12k.tracking.log_search import STATE, TRIAL, log_search, log_trials
from mnist12k.tracking.publish import publish
from mnist12k.tracking.runs import PROCESS
from mnist12k.tracking.store import connect

EPOCHS = (2, 1)  # of each trial


@pytest.fixture
def workspace(tmp_path: Path, idx_folder: Path) -> Iterator[Params]:
    """A workspace with a finished search of two trials, and no training, as the current folder."""
    make_workspace(tmp_path, idx_folder)
    with inside(tmp_path):
        params = load_params()
        fingerprint = study_digest(params.search())
        trials = {
            "trial": [0, 1],
            "state": ["complete", "pruned"],
            "validation_loss": [0.25, None],
            "validation_accuracy": [0.9, None],
            "epochs": EPOCHS,
            "seconds": [4.0, 2.0],
            "learning_rate": [0.125, 1e-05],
            "schedule": ["step", "linear"],
            "step_size": pd.array([2, None], dtype="Int64"),
        }
        write_table(TRIALS, pd.DataFrame(trials))
        epochs = [
            (trial, *Epoch(epoch, 0.1, 1 / epoch, 0.5, 2 / epoch, 0.5, 2.0))
            for trial, count in enumerate(EPOCHS)
            for epoch in range(1, count + 1)
        ]
        write_table(TRIAL_EPOCHS, pd.DataFrame(epochs, columns=["trial", *Epoch._fields]))
        metrics = search_metrics(fingerprint=fingerprint, trials=2)
        write_json(TUNE_METRICS, metrics)
        yield params


def logged_runs() -> tuple[Run, list[Run]]:
    client, experiment_id = connect()
    runs = client.search_runs([experiment_id])
    (parent,) = [run for run in runs if MLFLOW_PARENT_RUN_ID not in run.data.tags]
    children = [run for run in runs if run is not parent]
    return parent, sorted(children, key=lambda run: run.data.tags[TRIAL])


def test_a_search_is_a_parent_with_one_child_per_trial(workspace: Params) -> None:
    log_search(workspace.search())
    log_search(workspace.search())  # adds nothing
    parent, (complete, pruned) = logged_runs()
    assert parent.info.status == "FINISHED"
    assert parent.data.params["tune.recipe"] == workspace.tune.recipe
    assert parent.data.tags["tune.sampler"] == workspace.tune.sampler
    assert parent.data.metrics["tune/challenger_validation_loss_mean"] == 0.022
    assert parent.data.tags["mnist12k.verdict"] == "better"
    assert (
        "difference -0.00400 (-0.00600 to -0.00200): better"
        in (parent.data.tags["mlflow.note.content"])
    )
    assert (complete.info.status, pruned.info.status) == ("FINISHED", "KILLED")
    assert complete.data.params == {
        "train.learning_rate": "0.125",
        "train.schedule": "step",
        "train.step_size": "2",
    }
    assert pruned.data.params == {"train.learning_rate": "1e-05", "train.schedule": "linear"}
    curve = connect()[0].get_metric_history(complete.info.run_id, "validation/loss")
    assert [(point.step, point.value) for point in curve] == [(1, 2.0), (2, 1.0)]


def test_each_training_of_a_finalist_is_a_child_with_its_point_and_seed(workspace: Params) -> None:
    rows = {
        "trial": ["start", "0"],
        "seed": [2, 2],
        "round": ["race", "race"],
        "validation_loss": [0.3, 0.25],
        "validation_accuracy": [0.9, 0.91],
    }
    write_table(FINALISTS, pd.DataFrame(rows))
    log_search(workspace.search())
    log_search(workspace.search())  # adds nothing
    parent, children = logged_runs()
    finalist, recipe = [run for run in children if "seed" in run.data.tags[TRIAL]]
    assert len(children) == len(EPOCHS) + 2
    assert (finalist.info.run_name, recipe.info.run_name) == (
        "trial 0 from seed 2",
        "the recipe from seed 2",
    )
    assert finalist.data.metrics == {"validation/loss": 0.25, "validation/accuracy": 0.91}
    assert finalist.data.params == {
        "train.learning_rate": "0.125",
        "train.schedule": "step",
        "train.step_size": "2",
        "train.seed": "2",
    }
    assert recipe.data.params == {"train.seed": "2"}
    assert {run.info.status for run in (finalist, recipe)} == {"FINISHED"}
    assert recipe.data.tags[MLFLOW_PARENT_RUN_ID] == parent.info.run_id


def test_a_finalist_that_is_no_trial_is_named(workspace: Params) -> None:
    text = "trial,seed,round,validation_loss,validation_accuracy\n7,2,race,0.3,0.9\n"
    FINALISTS.parent.mkdir(exist_ok=True)
    FINALISTS.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=f"^{FINALISTS} is damaged .a trial is not in {TRIALS}"):
        log_search(workspace.search())


def test_an_interrupted_child_is_completed(workspace: Params) -> None:
    log_search(workspace.search())
    _, (interrupted, _) = logged_runs()
    client, _ = connect()
    client.delete_tag(interrupted.info.run_id, STATE)
    client.set_tag(interrupted.info.run_id, PROCESS, DEAD)
    client.update_run(interrupted.info.run_id, "KILLED")
    log_search(workspace.search())
    _, children = logged_runs()
    assert [child.info.status for child in children] == ["FINISHED", "KILLED"]
    assert children[0].info.run_id == interrupted.info.run_id
    curve = client.get_metric_history(interrupted.info.run_id, "validation/loss")
    assert [(point.step, point.value) for point in curve] == [(1, 2.0), (2, 1.0)]


def test_another_result_of_the_same_search_is_another_run(workspace: Params) -> None:
    log_search(workspace.search())
    parent, children = logged_runs()
    fingerprint = study_digest(workspace.search())
    write_json(TUNE_METRICS, search_metrics(fingerprint=fingerprint, trials=2, search="another"))
    log_search(workspace.search())
    client, experiment_id = connect()
    runs = client.search_runs([experiment_id])
    assert len(runs) == 2 * (1 + len(EPOCHS))
    assert {run.info.run_id for run in (parent, *children)} < {run.info.run_id for run in runs}


def test_a_search_that_goes_on_keeps_its_run_and_shows_the_new_verdict(workspace: Params) -> None:
    log_search(workspace.search())
    parent, _ = logged_runs()
    trials, epochs = pd.read_csv(TRIALS), pd.read_csv(TRIAL_EPOCHS)
    trials = pd.concat([trials, trials.iloc[:1].assign(trial=2)])
    epochs = pd.concat([epochs, epochs.iloc[: EPOCHS[0]].assign(trial=2)])
    log_trials(workspace.search(), search_metrics().search, trials, epochs)
    assert logged_runs()[0].info.status == "RUNNING"
    write_table(TRIALS, trials)
    write_table(TRIAL_EPOCHS, epochs)
    settings = with_tune(workspace.search(), trials=3, sampler="random")
    longer = {"fingerprint": study_digest(settings), "trials": 3, "verdict": "worse"}
    write_json(TUNE_METRICS, search_metrics(**longer))
    log_search(settings)
    continued, children = logged_runs()
    assert continued.info.run_id == parent.info.run_id
    assert continued.info.status == "FINISHED"
    assert continued.data.metrics["tune/trials"] == 3
    assert (continued.data.tags["tune.trials"], continued.data.tags["tune.sampler"]) == (
        "3",
        "random",
    )
    assert continued.data.tags["mnist12k.verdict"] == "worse"
    assert len(children) == 3


def test_during_a_search_only_trials_are_logged(workspace: Params) -> None:
    TUNE_METRICS.unlink()
    log_search(workspace.search())
    parent, children = logged_runs()
    assert parent.info.status == "RUNNING"
    assert len(children) == len(EPOCHS)


@pytest.mark.parametrize("path", [TUNE_METRICS, TRIALS, TRIAL_EPOCHS])
@pytest.mark.parametrize("cut", ["within a line", "between lines"])
def test_a_damaged_search_costs_publish_one_warning(
    workspace: Params, capsys: pytest.CaptureFixture[str], path: Path, cut: str
) -> None:
    content = path.read_bytes()
    end = len(content) - 3 if cut == "within a line" else content[:-1].rindex(b"\n") + 1
    path.write_bytes(content[:end])
    with pytest.raises(UserError, match=r"reports/train/result.json is missing"):  # it continues
        publish(workspace)
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"mnist12k: warning: {path} is damaged (")
    assert warning.endswith("`mnist12k tune` rewrites it")
    assert not Path("mlflow.db").exists()
