"""Make MLflow show what lies in the workspace: one complete run, from its files alone."""

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Run

from mnist12k.cnn.history import Epoch
from mnist12k.errors import UserError
from mnist12k.fingerprint import file_md5, training_fingerprint
from mnist12k.params import Params
from mnist12k.tracking.backprop import log_study
from mnist12k.tracking.model import MODEL, log_model
from mnist12k.tracking.registry import register
from mnist12k.tracking.runs import (
    create_run,
    end_abandoned_runs,
    is_abandoned,
    log_epochs,
    log_params,
    now,
    runs_of,
    set_tags,
)
from mnist12k.tracking.search import is_of, log_search
from mnist12k.tracking.store import connect

TRAIN_REPORTS = Path("reports/train")
BACKPROP_REPORTS = Path("reports/backprop")
EVALUATE_REPORTS = Path("reports/evaluate")
PUBLISHED = "mnist12k.published"


def publish(params: Params) -> list[str]:
    """Complete the run of the training in the workspace; return what was done, in lines.

    The run is the one with the training's fingerprint. Whatever it lacks is added from reports/
    and models/; others of the same fingerprint, dead ones included, are deleted. Nothing is done
    twice: a run that holds these very files is left alone.

    Raises UserError if there is no training, or params, data or code are no longer its own.
    """
    if (BACKPROP_REPORTS / "metrics.json").is_file():
        log_study(params)
    if is_of(params):
        log_search(params)
    trained = _read_json(TRAIN_REPORTS / "metrics.json")
    fingerprint = training_fingerprint(params.train)
    if trained["fingerprint"] != fingerprint:
        raise UserError(
            "params.yaml, the data or the code has changed since models/cnn.pt was trained; "
            "`dvc repro` first"
        )
    client, experiment_id = connect()
    done = [f"run {name} had been killed" for name in end_abandoned_runs(client, experiment_id)]

    content = _content_digest()
    run = _only_run(client, experiment_id, fingerprint, content)
    if run is not None and run.data.tags.get(PUBLISHED) == content:
        return done
    started = trained["started"]
    run_id = run.info.run_id if run else create_run(client, experiment_id, params, started)
    _log_missing_epochs(client, run_id, started)
    client.log_artifacts(run_id, str(TRAIN_REPORTS), "train")
    source = _logged_model(client, experiment_id, run_id) or log_model(run_id)
    tags = {"device": trained["device"], "mlflow.note.content": _description(trained)}
    if _is_evaluated():
        done += _add_evaluation(client, run_id, source, params)
        tags[PUBLISHED] = content
    set_tags(client, run_id, tags)
    client.set_terminated(run_id, "FINISHED", int((started + trained["seconds"]) * 1000))
    name = client.get_run(run_id).info.run_name
    return [*done, f"run {name} is complete"]


def _only_run(
    client: MlflowClient, experiment_id: str, fingerprint: str, content: str
) -> Run | None:
    """Return the run that holds these files, else the latest; delete the others but live ones."""
    runs = [
        run
        for run in runs_of(client, experiment_id, fingerprint)
        if run.info.status != "RUNNING" or is_abandoned(run)
    ]
    runs.sort(key=lambda run: run.data.tags.get(PUBLISHED) != content)  # stable: latest first
    for superseded in runs[1:]:
        client.delete_run(superseded.info.run_id)
    return runs[0] if runs else None


def _log_missing_epochs(client: MlflowClient, run_id: str, started: float) -> None:
    there = {point.step for point in client.get_metric_history(run_id, "train/loss")}
    for epoch in _read_history():
        if epoch.epoch not in there:
            log_epochs(client, run_id, [epoch], started)
        started += epoch.seconds


def _add_evaluation(client: MlflowClient, run_id: str, source: str, params: Params) -> list[str]:
    figures = _read_json(EVALUATE_REPORTS / "metrics.json")
    metrics = {
        name.replace("test_", "test/", 1): value
        for name, value in figures.items()
        if name.startswith("test_")
    }
    there = client.get_run(run_id).data.params  # MLflow lets no parameter change
    settings = params.evaluate.model_dump()
    missing = {name: settings[name] for name in settings if f"evaluate.{name}" not in there}
    log_params(client, run_id, "evaluate", missing)
    moment = int(now() * 1000)
    client.log_batch(run_id, [Metric(name, value, moment, 0) for name, value in metrics.items()])
    client.log_artifacts(run_id, str(EVALUATE_REPORTS), "evaluate")
    told = register(client, run_id, source, figures["test_accuracy"], params.publish.champion_level)
    return [told] if told else []


def _is_evaluated() -> bool:
    """Tell whether reports/evaluate is of the model in the workspace."""
    path = EVALUATE_REPORTS / "metrics.json"
    return path.is_file() and _read_json(path)["model_md5"] == file_md5(MODEL)


def _logged_model(client: MlflowClient, experiment_id: str, run_id: str) -> str | None:
    found = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    ready = [model for model in found if str(model.status) == "READY"]
    return f"models:/{ready[0].model_id}" if ready else None


def _description(trained: dict[str, Any]) -> str:
    lines = [f"{trained['epochs']} epochs on {trained['device']}, {trained['seconds']:.0f} s."]
    if "validation_accuracy" in trained:
        lines.append(f"Validation accuracy **{trained['validation_accuracy']:.2%}**.")
    if _is_evaluated():
        test = _read_json(EVALUATE_REPORTS / "metrics.json")
        lines.append(
            f"Test accuracy **{test['test_accuracy']:.2%}**, 95 % interval "
            f"{test['test_accuracy_low']:.2%} to {test['test_accuracy_high']:.2%}."
        )
    pictures = [
        f"- `{folder.name}/{path.name}`"
        for folder in (TRAIN_REPORTS, EVALUATE_REPORTS)
        for path in sorted(folder.glob("*.png"))
    ]
    return "\n".join([" ".join(lines), "", "Pictures among the artifacts:", "", *pictures])


def _content_digest() -> str:
    """Return a digest of everything that a complete run shows."""
    files = [*TRAIN_REPORTS.iterdir(), *EVALUATE_REPORTS.glob("*"), MODEL]
    listed = "".join(f"{file_md5(path)} {path.as_posix()}\n" for path in sorted(files))
    return hashlib.sha256(listed.encode()).hexdigest()[:32]


def _read_history() -> Iterator[Epoch]:
    with (TRAIN_REPORTS / "history.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            values = {name: float(value) if value else None for name, value in row.items()}
            yield Epoch(**values | {"epoch": int(row["epoch"])})  # type: ignore[arg-type]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is absent; `dvc repro` makes it") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); `dvc repro -f` makes it anew") from error
    return content
