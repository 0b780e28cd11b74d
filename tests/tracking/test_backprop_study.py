from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from mnist12k.files import write_csv, write_json
from mnist12k.params import Params
from mnist12k.tracking.backprop import FINGERPRINT, REPORTS, log_study

RATES, ITERATIONS = ("0.1", "2.0"), 1500  # more than MLflow takes at once


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty store beside a study's reports."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("DVC_ROOT", str(root))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        rows = [(rate, k, 1 / (k + float(rate))) for rate in RATES for k in range(ITERATIONS + 1)]
        write_csv(REPORTS / "losses.csv", ["learning_rate", "iteration", "loss"], rows)
        figures = {"loss_before": 0.5, "hill": {"edge": 67.0, "end": None}}
        write_json(REPORTS / "metrics.json", figures)
        yield root
    mlflow.set_tracking_uri("")  # the next test's choice


def runs(project: Path) -> tuple[MlflowClient, Run, list[Run]]:
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mnist12k")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in found if MLFLOW_PARENT_RUN_ID not in run.data.tags]
    children = [run for run in found if run is not parent]
    return client, parent, sorted(children, key=lambda run: run.data.params["learning_rate"])


def test_a_study_is_a_parent_with_a_child_a_rate_and_its_curve(
    project: Path, params: Params
) -> None:
    log_study(params)
    client, parent, children = runs(project)
    assert parent.data.params["backprop.iterations"] == "100"
    assert parent.data.params["backprop.presets.mazur.targets"] == "(0.01, 0.99)"
    assert parent.data.metrics == {"loss_before": 0.5, "hill/edge": 67.0}
    listed = {file.path for file in client.list_artifacts(parent.info.run_id, "backprop")}
    assert listed == {"backprop/losses.csv", "backprop/metrics.json"}

    assert [child.data.params["learning_rate"] for child in children] == list(RATES)
    for child in children:
        assert child.data.tags[MLFLOW_PARENT_RUN_ID] == parent.info.run_id
        assert child.info.status == "FINISHED"
        curve = client.get_metric_history(child.info.run_id, "loss")
        assert [point.step for point in curve] == list(range(ITERATIONS + 1))
        rate = float(child.data.params["learning_rate"])
        expected = 1 / (np.arange(ITERATIONS + 1) + rate)
        np.testing.assert_array_equal([point.value for point in curve], expected)


def test_logging_twice_leaves_one_parent_and_one_child_a_rate(
    project: Path, params: Params
) -> None:
    log_study(params)
    first = runs(project)[1]
    log_study(params)
    _, parent, children = runs(project)
    assert parent.data.tags[FINGERPRINT] == first.data.tags[FINGERPRINT]
    assert len(children) == len(RATES)


def test_another_study_stands_beside_the_first(project: Path, params: Params) -> None:
    log_study(params)
    first = runs(project)[1]
    other = params.backprop.model_copy(update={"iterations": 7})
    log_study(params.model_copy(update={"backprop": other}))
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    found = client.search_runs([first.info.experiment_id])
    assert len({run.data.tags[FINGERPRINT] for run in found}) == 2
    assert len(found) == 2 * (1 + len(RATES))
