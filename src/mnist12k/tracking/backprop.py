"""One MLflow run a backprop study, with a child a learning rate.

The runs show the files in reports/backprop and can be made anew from them at any time. Compared
with one another in the UI, the children draw the loss by learning rate.
"""

import csv
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from mnist12k.params import Params
from mnist12k.tracking.store import connect

FINGERPRINT = "mnist12k.fingerprint"
REPORTS = Path("reports/backprop")
BATCH = 1000  # metrics that MLflow takes at once

Point = tuple[str, float, int]  # a metric's name, value and step


def log_study(params: Params) -> None:
    """Log the study that lies in reports/backprop, unless it is logged; unfinished runs of it go.

    Parent and children bear the fingerprint of the parameters and the files that they show. The
    parent is finished last, so that a finished one vouches for its children.
    """
    client, experiment_id = connect()
    given = dict(_flat(params.backprop.model_dump(), "backprop.", "."))
    fingerprint = _fingerprint(given)
    ours = f"tags.`{FINGERPRINT}` = '{fingerprint}'"
    earlier = client.search_runs([experiment_id], ours)
    if any(
        run.info.status == "FINISHED" and MLFLOW_PARENT_RUN_ID not in run.data.tags
        for run in earlier
    ):
        return
    for run in earlier:
        client.delete_run(run.info.run_id)

    def log(
        name: str, parameters: Mapping[str, object], points: Sequence[Point], **tags: str
    ) -> str:
        tags |= {FINGERPRINT: fingerprint, MLFLOW_RUN_NAME: name}
        run_id: str = client.create_run(experiment_id, tags=tags).info.run_id
        now = int(time.time() * 1000)
        described = [Param(key, str(value)) for key, value in parameters.items()]
        client.log_batch(run_id, params=described)
        metrics = [Metric(key, value, now, step) for key, value, step in points]
        for start in range(0, len(metrics), BATCH):
            client.log_batch(run_id, metrics[start : start + BATCH])
        return run_id

    figures = json.loads((REPORTS / "metrics.json").read_text(encoding="utf-8"))
    parent = log(
        f"backprop-{fingerprint[:7]}",
        given,
        [(name, float(value), 0) for name, value in _flat(figures, "", "/")],
    )
    client.log_artifacts(parent, str(REPORTS), "backprop")
    children = [
        log(
            f"learning rate {rate}",
            {"learning_rate": rate},
            curve,
            **{MLFLOW_PARENT_RUN_ID: parent},
        )
        for rate, curve in _curves().items()
    ]
    for run_id in (*children, parent):
        client.set_terminated(run_id)


def _curves() -> dict[str, list[Point]]:
    curves: dict[str, list[Point]] = {}
    with (REPORTS / "losses.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            point = ("loss", float(row["loss"]), int(row["iteration"]))
            curves.setdefault(row["learning_rate"], []).append(point)
    return curves


def _flat(tree: Mapping[str, Any], prefix: str, joint: str) -> Iterator[tuple[str, Any]]:
    """Yield every leaf under its full name; what was not found, None, is left out."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}{joint}", joint)
        elif value is not None:
            yield prefix + name, value


def _fingerprint(given: Mapping[str, object]) -> str:
    digest = hashlib.sha256(json.dumps(given, sort_keys=True).encode())
    for path in sorted(REPORTS.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:32]
