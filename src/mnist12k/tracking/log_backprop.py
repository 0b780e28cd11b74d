"""One MLflow run per learning-rate study, with one child per learning rate.

Compared in the UI, the children show the loss by learning rate.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from mnist12k.backprop.settings import Backprop
from mnist12k.files import is_temporary, read_json
from mnist12k.outputs import BACKPROP_METRICS, BackpropMetrics, read_losses
from mnist12k.paths import BACKPROP_REPORTS
from mnist12k.tracking.runs import (
    FINGERPRINT,
    find_runs,
    log_files,
    log_metrics,
    log_params,
    metric,
    open_run,
)
from mnist12k.tracking.store import connect, one_at_a_time


def log_study(study: Backprop) -> None:
    """Log what the runs of the study in reports/backprop lack.

    Parent and children have the fingerprint of the parameters and files that they show. The parent
    is finished last: if it is FINISHED, all children are complete.

    Raises UserError if metrics.json or losses.csv is damaged.
    """
    params = dict(_flatten(study.model_dump(), "."))
    metrics = read_json(BACKPROP_METRICS, BackpropMetrics)
    losses = read_losses()
    fingerprint = _fingerprint(params)
    with one_at_a_time():
        client, experiment_id = connect()
        runs = find_runs(client, experiment_id, fingerprint)
        parents = [run for run in runs if MLFLOW_PARENT_RUN_ID not in run.data.tags]
        tags = {FINGERPRINT: fingerprint, MLFLOW_RUN_NAME: f"backprop-{fingerprint[:7]}"}
        parent = open_run(client, experiment_id, parents, tags)
        parent_id = parent.info.run_id
        log_params(client, parent, "backprop", params)
        figures = [metric(name, value) for name, value in _flatten(metrics.model_dump(), "/")]
        log_metrics(client, parent, figures)
        log_files(client, parent, BACKPROP_REPORTS.iterdir())
        for rate, curve in losses.groupby("learning_rate", sort=False):
            tags |= {MLFLOW_RUN_NAME: f"learning rate {rate}", MLFLOW_PARENT_RUN_ID: parent_id}
            known = [run for run in runs if tags.items() <= run.data.tags.items()]
            child = open_run(client, experiment_id, known, tags)
            if child.info.status == "FINISHED":
                continue
            if "learning_rate" not in child.data.params:
                client.log_param(child.info.run_id, "learning_rate", rate)
            points = zip(curve["loss"], curve["iteration"], strict=True)
            log_metrics(client, child, [metric("loss", loss, step) for loss, step in points])
            client.set_terminated(child.info.run_id)
        if parent.info.status != "FINISHED":
            client.set_terminated(parent_id)


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
    for path in sorted(path for path in BACKPROP_REPORTS.iterdir() if not is_temporary(path)):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:32]
