"""One MLflow run a search, with a child a trial, all made from the files in reports/tune."""

import csv
import json
import time
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from mnist12k.cnn.history import Epoch
from mnist12k.params import Params
from mnist12k.processes import this_process
from mnist12k.search.study import study_digest, without_password
from mnist12k.tracking.runs import FINGERPRINT, PROCESS, log_epochs, log_params
from mnist12k.tracking.store import connect

TRIAL = "mnist12k.trial"
STATE = "optuna.state"
REPORTS = Path("reports/tune")
# What Optuna calls pruned has not finished, and has not failed.
STATUS = {"complete": "FINISHED", "pruned": "KILLED"}
OF_TRIAL = ("trial", "state", "validation_loss", "validation_accuracy", "epochs", "seconds")


def log_search(params: Params) -> None:
    """Add to the search's run what reports/tune holds and the run does not.

    While the search goes on that is its trials; at the end also its figures and its pictures.
    """
    client, experiment_id = connect()
    fingerprint = study_digest(params)
    runs = client.search_runs([experiment_id], f"tags.`{FINGERPRINT}` = '{fingerprint}'")
    parents = [run for run in runs if MLFLOW_PARENT_RUN_ID not in run.data.tags]
    parent = (
        parents[0].info.run_id if parents else _open(client, experiment_id, params, fingerprint)
    )
    children = {
        run.data.tags[TRIAL]: run
        for run in runs
        if run.data.tags.get(MLFLOW_PARENT_RUN_ID) == parent
    }
    curves = _curves()
    for row in _read(REPORTS / "trials.csv"):
        child = children.get(row["trial"])
        if child is not None and child.info.status == "RUNNING":  # its logging was cut off
            client.delete_run(child.info.run_id)
        if child is None or child.info.status == "RUNNING":
            _log_trial(
                client, experiment_id, parent, fingerprint, row, curves.get(row["trial"], [])
            )
    figures = _figures()
    if figures.get("fingerprint") == fingerprint and not (
        parents and parents[0].info.status == "FINISHED"
    ):
        moment = int(time.time() * 1000)
        metrics = [
            Metric(f"tune/{name}", float(value), moment, 0)
            for name, value in figures.items()
            if isinstance(value, int | float)
        ]
        client.log_batch(parent, metrics)
        client.log_artifacts(parent, str(REPORTS), "tune")
        client.set_terminated(parent)


def is_of(params: Params) -> bool:
    """Tell whether reports/tune holds a finished search of the space in params.yaml."""
    return bool(_figures()) and _figures()["fingerprint"] == study_digest(params)


def _open(client: MlflowClient, experiment_id: str, params: Params, fingerprint: str) -> str:
    tags = {FINGERPRINT: fingerprint, MLFLOW_RUN_NAME: f"tune-{fingerprint[:7]}"}
    tags[PROCESS] = this_process()
    run_id = str(client.create_run(experiment_id, tags=tags).info.run_id)
    shown = params.tune.model_dump() | {"storage": without_password(params.tune)}
    log_params(client, run_id, "tune", shown)
    return run_id


def _log_trial(
    client: MlflowClient,
    experiment_id: str,
    parent: str,
    fingerprint: str,
    row: dict[str, str],
    epochs: list[Epoch],
) -> None:
    started = time.time() - float(row["seconds"])
    tags = {
        FINGERPRINT: fingerprint,
        TRIAL: row["trial"],
        STATE: row["state"],
        MLFLOW_PARENT_RUN_ID: parent,
        MLFLOW_RUN_NAME: f"trial {row['trial']}",
    }
    run_id = str(client.create_run(experiment_id, int(started * 1000), tags).info.run_id)
    chosen = {name: row[name] for name in row if name not in OF_TRIAL and row[name]}
    log_params(client, run_id, "train", dict(chosen))
    log_epochs(client, run_id, epochs, started)
    client.set_terminated(run_id, STATUS[row["state"]])


def _curves() -> dict[str, list[Epoch]]:
    """Return every trial's epochs, by its number as the file has it."""
    curves: dict[str, list[Epoch]] = {}
    for row in _read(REPORTS / "epochs.csv"):
        trial, number = row.pop("trial"), int(row.pop("epoch"))
        values = {name: float(value) if value else None for name, value in row.items()}
        curves.setdefault(trial, []).append(Epoch(epoch=number, **values))  # type: ignore[arg-type]
    return curves


def _figures() -> dict[str, Any]:
    path = REPORTS / "metrics.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
