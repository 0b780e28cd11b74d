import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from workspace import DEAD, ELSEWHERE, inside

from mnist12k.errors import UserError
from mnist12k.files import atomic_write, write_json, write_table
from mnist12k.outputs import (
    BACKPROP_METRICS,
    LOSSES,
    BackpropMetrics,
    HillEdges,
    LargestDeviation,
)
from mnist12k.params import Params
from mnist12k.tracking.log_backprop import log_study
from mnist12k.tracking.runs import FINGERPRINT, PROCESS
from mnist12k.tracking.store import connect

RATES, ITERATIONS = (0.1, 2.0), 1500  # more than MLflow accepts in one request
DEVIATION = LargestDeviation(
    gradient_autograd=1e-16, gradient_central=1e-10, curve_absolute=1e-15, curve_relative=1e-12
)


@pytest.fixture(autouse=True)
def study(tmp_path: Path) -> Iterator[None]:
    """A study's reports beside an empty store, in the current folder."""
    with inside(tmp_path):
        iterations = range(ITERATIONS + 1)
        rows = [(rate, k, 1 / (k + rate)) for rate in RATES for k in iterations]
        write_table(LOSSES, pd.DataFrame(rows, columns=["learning_rate", "iteration", "loss"]))
        metrics = BackpropMetrics(
            loss_before=0.5,
            loss_after={"0.1": 0.25},
            largest_deviation=DEVIATION,
            hill=HillEdges(first_step_edge=67.0),
        )
        write_json(BACKPROP_METRICS, metrics)
        yield


def logged_runs() -> tuple[MlflowClient, Run, list[Run]]:
    client, experiment_id = connect()
    runs = client.search_runs([experiment_id])
    (parent,) = [run for run in runs if MLFLOW_PARENT_RUN_ID not in run.data.tags]
    children = [run for run in runs if run is not parent]
    return client, parent, sorted(children, key=lambda run: run.data.params["learning_rate"])


def test_a_study_is_a_parent_with_one_child_and_curve_per_rate(params: Params) -> None:
    log_study(params.backprop)
    client, parent, children = logged_runs()
    assert parent.data.params["backprop.iterations"] == "100"
    assert parent.data.params["backprop.presets.mazur.targets"] == "(0.01, 0.99)"
    deviations = {f"largest_deviation/{name}": value for name, value in DEVIATION}
    figures = {"loss_before": 0.5, "loss_after/0.1": 0.25, "hill/first_step_edge": 67.0}
    assert parent.data.metrics == figures | deviations
    artifacts = {file.path for file in client.list_artifacts(parent.info.run_id, "backprop")}
    assert artifacts == {"backprop/losses.csv", "backprop/metrics.json"}

    assert [child.data.params["learning_rate"] for child in children] == list(map(str, RATES))
    for child, rate in zip(children, RATES, strict=True):
        assert child.data.tags[MLFLOW_PARENT_RUN_ID] == parent.info.run_id
        assert child.info.status == "FINISHED"
        curve = client.get_metric_history(child.info.run_id, "loss")
        assert [point.step for point in curve] == list(range(ITERATIONS + 1))
        expected = 1 / (np.arange(ITERATIONS + 1) + rate)
        np.testing.assert_array_equal([point.value for point in curve], expected)


def test_logging_twice_adds_nothing(params: Params) -> None:
    log_study(params.backprop)
    _, first, _ = logged_runs()
    log_study(params.backprop)
    _, parent, children = logged_runs()
    assert parent.info.run_id == first.info.run_id
    assert len(children) == len(RATES)


def test_a_study_whose_logging_was_interrupted_is_completed_on_the_same_machine(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", interrupted_at(3, MlflowClient.log_batch))
        with pytest.raises(KeyboardInterrupt):
            log_study(params.backprop)
    client, experiment_id = connect()
    unfinished = client.search_runs([experiment_id])
    assert {run.info.status for run in unfinished} == {"RUNNING"}
    for run in unfinished:
        client.set_tag(run.info.run_id, PROCESS, DEAD)
    log_study(params.backprop)
    _, parent, children = logged_runs()
    assert {run.info.run_id for run in unfinished} <= {
        run.info.run_id for run in (parent, *children)
    }
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    for child in children:
        curve = client.get_metric_history(child.info.run_id, "loss")
        assert [point.step for point in curve] == list(range(ITERATIONS + 1))


def interrupted_at(number: int, call: Callable[..., object]) -> Callable[..., None]:
    numbers = itertools.count(1)

    def until(*arguments: object, **options: object) -> None:
        if next(numbers) == number:
            raise KeyboardInterrupt
        call(*arguments, **options)

    return until


def test_the_unfinished_study_of_another_machine_is_left_alone(params: Params) -> None:
    log_study(params.backprop)
    client, other, children = logged_runs()
    for run in (other, *children):
        client.update_run(run.info.run_id, "RUNNING")
        client.set_tag(run.info.run_id, PROCESS, ELSEWHERE)
    log_study(params.backprop)
    for run in (other, *children):
        assert client.get_run(run.info.run_id).info.status == "RUNNING"
    _, experiment_id = connect()
    finished = client.search_runs([experiment_id], "attributes.status = 'FINISHED'")
    assert len(finished) == 1 + len(RATES)


def test_lost_artifacts_of_a_finished_study_are_logged_again(params: Params) -> None:
    log_study(params.backprop)
    shutil.rmtree("mlartifacts")
    log_study(params.backprop)
    client, parent, _ = logged_runs()
    artifacts = {file.path for file in client.list_artifacts(parent.info.run_id, "backprop")}
    assert artifacts == {"backprop/losses.csv", "backprop/metrics.json"}


def test_a_file_that_is_being_written_is_in_no_fingerprint_and_no_artifact(params: Params) -> None:
    log_study(params.backprop)
    with atomic_write(BACKPROP_METRICS.with_name("hill.png")):
        log_study(params.backprop)
    client, parent, _ = logged_runs()
    artifacts = {file.path for file in client.list_artifacts(parent.info.run_id, "backprop")}
    assert artifacts == {"backprop/losses.csv", "backprop/metrics.json"}


def test_another_study_is_another_run(params: Params) -> None:
    log_study(params.backprop)
    log_study(params.backprop.model_copy(update={"iterations": 7}))
    client, experiment_id = connect()
    runs = client.search_runs([experiment_id])
    assert len({run.data.tags[FINGERPRINT] for run in runs}) == 2
    assert len(runs) == 2 * (1 + len(RATES))


@pytest.mark.parametrize("path", [BACKPROP_METRICS, LOSSES])
def test_a_damaged_file_is_named_and_nothing_is_logged(params: Params, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match=f"^{path} is damaged"):
        log_study(params.backprop)
    assert not Path("mlflow.db").exists()
