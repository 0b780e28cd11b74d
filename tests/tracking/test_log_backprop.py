from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from workspace import inside

from mnist12k.errors import UserError
from mnist12k.files import write_json, write_table
from mnist12k.outputs import (
    BACKPROP_METRICS,
    LOSSES,
    BackpropMetrics,
    HillEdges,
    LargestDeviation,
)
from mnist12k.params import Params
from mnist12k.tracking.log_backprop import log_study
from mnist12k.tracking.runs import FINGERPRINT
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


def test_a_partial_run_of_the_study_is_replaced(params: Params) -> None:
    log_study(params.backprop)
    client, first, _ = logged_runs()
    client.update_run(first.info.run_id, "RUNNING")
    log_study(params.backprop)
    _, parent, children = logged_runs()
    assert parent.info.run_id != first.info.run_id
    assert {child.data.tags[MLFLOW_PARENT_RUN_ID] for child in children} == {parent.info.run_id}


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
