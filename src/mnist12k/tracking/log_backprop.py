"""One MLflow run per learning-rate study, with one child per learning rate.

Compared in the UI, the children show the loss by learning rate.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from mnist12k.backprop.settings import Backprop
from mnist12k.files import read_json
from mnist12k.outputs import BACKPROP_METRICS, BackpropMetrics, read_losses
from mnist12k.paths import BACKPROP_REPORTS
from mnist12k.tracking.runs import FINGERPRINT, find_runs, log_metrics, log_params, metric
from mnist12k.tracking.store import connect


def log_study(study: Backprop) -> None:
    """Log the study in reports/backprop unless it is logged already; delete partial runs of it.

    Parent and children have the fingerprint of the parameters and files that they show. The parent
    is finished last: if it is FINISHED, all children are complete.

    Raises UserError if metrics.json or losses.csv is damaged.
    """
    params = dict(_flatten(study.model_dump(), "."))
    metrics = read_json(BACKPROP_METRICS, BackpropMetrics)
    losses = read_losses()
    fingerprint = _fingerprint(params)
    client, experiment_id = connect()
    runs = find_runs(client, experiment_id, fingerprint)
    if any(
        run.info.status == "FINISHED" and MLFLOW_PARENT_RUN_ID not in run.data.tags for run in runs
    ):
        return
    for run in runs:
        client.delete_run(run.info.run_id)

    tags = {FINGERPRINT: fingerprint, MLFLOW_RUN_NAME: f"backprop-{fingerprint[:7]}"}
    figures = [metric(name, value) for name, value in _flatten(metrics.model_dump(), "/")]
    parent = _create_run(client, experiment_id, tags, figures)
    log_params(client, parent, "backprop", params)
    client.log_artifacts(parent, str(BACKPROP_REPORTS), "backprop")
    children = []
    for rate, curve in losses.groupby("learning_rate", sort=False):
        tags |= {MLFLOW_RUN_NAME: f"learning rate {rate}", MLFLOW_PARENT_RUN_ID: parent}
        points = zip(curve["loss"], curve["iteration"], strict=True)
        curve_metrics = [metric("loss", loss, iteration) for loss, iteration in points]
        child = _create_run(client, experiment_id, tags, curve_metrics)
        client.log_param(child, "learning_rate", rate)
        children.append(child)
    for run_id in (*children, parent):
        client.set_terminated(run_id)


def _create_run(
    client: MlflowClient, experiment_id: str, tags: dict[str, str], metrics: list[Metric]
) -> str:
    run_id = str(client.create_run(experiment_id, tags=tags).info.run_id)
    log_metrics(client, run_id, metrics)
    return run_id


def _flatten(tree: Mapping[str, Any], separator: str) -> Iterator[tuple[str, Any]]:
    """Yield every leaf that is not None under its full name."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            for key, leaf in _flatten(value, separator):
                yield f"{name}{separator}{key}", leaf
        elif value is not None:
            yield name, value


def _fingerprint(params: Mapping[str, object]) -> str:
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode())
    for path in sorted(BACKPROP_REPORTS.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:32]
