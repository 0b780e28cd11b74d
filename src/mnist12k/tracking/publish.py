"""Complete the run of the training in the workspace, from its files alone."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from mlflow import MlflowClient
from mlflow.entities import Run, RunTag
from pandas import DataFrame

from mnist12k import outputs
from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.settings import Train
from mnist12k.errors import UserError, warn
from mnist12k.fingerprint import file_md5, training_fingerprint
from mnist12k.outputs import EvaluateMetrics, TrainMetrics
from mnist12k.params import Params
from mnist12k.paths import EVALUATE_REPORTS, MODEL, TRAIN_REPORTS
from mnist12k.tracking.log_backprop import log_study
from mnist12k.tracking.log_search import log_search
from mnist12k.tracking.model import log_model
from mnist12k.tracking.registry import register
from mnist12k.tracking.runs import (
    MODEL_MD5,
    create_run,
    end_abandoned_runs,
    find_runs,
    is_interrupted,
    log_epochs,
    log_metrics,
    log_params,
    metric,
)
from mnist12k.tracking.store import connect

PUBLISHED = "mnist12k.published"  # tag: the digest of the files that a complete run shows

Evaluation = tuple[EvaluateMetrics, DataFrame]  # the DataFrame has the predictions


class Results(NamedTuple):
    """The training in the workspace, and its evaluation, or None if that is of another model."""

    metrics: TrainMetrics
    history: DataFrame
    evaluation: Evaluation | None

    def files(self) -> list[Path]:
        """Return the files to log, each to the artifact folder with the name of its folder."""
        files = [outputs.HISTORY, outputs.TRAIN_METRICS]
        if self.evaluation:
            files += [*TRAIN_REPORTS.glob("model_summary.txt"), *EVALUATE_REPORTS.iterdir()]
        return sorted(files)

    def digest(self) -> str:
        """Return 32 hexadecimal digits that identify these files and the model."""
        lines = [f"{file_md5(path)} {path.as_posix()}\n" for path in (*self.files(), MODEL)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:32]


def publish(params: Params) -> list[str]:
    """Complete the run of the training in the workspace; return one line per change.

    The run is the one with the training's fingerprint and its model's MD5; else one that was
    interrupted on this machine, else a new one. Whatever it lacks is added from reports/ and
    models/. A run that shows the same files already is left unchanged, and none is ever deleted.
    The study in reports/backprop and the search in reports/tune are logged as well; a damaged file
    of the optional search is only a warning.

    Raises UserError if there is no training, if params.yaml, data or code have changed since, or
    if a file of the training, the evaluation or the study is missing or damaged.
    """
    try:
        if outputs.TUNE_METRICS.is_file():
            log_search(params.search(), only_finished=True)
    except UserError as error:
        warn(str(error))
    try:
        if outputs.BACKPROP_METRICS.is_file():
            log_study(params.backprop)
    except UserError:
        _publish_training(params)  # it does not depend on the study
        raise
    return _publish_training(params)


def _publish_training(params: Params) -> list[str]:
    results = _read_results(params.train)
    metrics, digest = results.metrics, results.digest()
    client, experiment_id = connect()
    done = [f"run {name} was killed" for name in end_abandoned_runs(client, experiment_id)]
    run = _select_run(client, experiment_id, metrics.fingerprint, digest)
    if run is not None and run.data.tags.get(PUBLISHED) == digest:
        return done

    started = metrics.started
    run_id = run.info.run_id if run else create_run(client, experiment_id, params.train, started)
    logged = {point.step for point in client.get_metric_history(run_id, "seconds")}
    log_epochs(client, run_id, results.history, started, skip=logged)
    for path in results.files():
        client.log_artifact(run_id, str(path), path.parent.name)
    model_uri = _logged_model(client, experiment_id, run_id) or log_model(run_id)
    tags = {
        MODEL_MD5: file_md5(MODEL),
        "device": metrics.device,
        "mlflow.note.content": _description(results),
    }
    if results.evaluation:
        done += _log_evaluation(client, run_id, model_uri, results.evaluation, params)
        tags[PUBLISHED] = digest
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    client.set_terminated(run_id, "FINISHED", int((started + metrics.seconds) * 1000))
    return [*done, f"run {client.get_run(run_id).info.run_name} is complete"]


def _read_results(settings: Train) -> Results:
    """Read and check every file before anything is logged."""
    metrics = outputs.read_train_metrics()
    if metrics.fingerprint != training_fingerprint(settings):
        raise UserError(
            f"params.yaml, the data or the code has changed since {MODEL} was trained; "
            "run `dvc repro` first"
        )
    history = outputs.read_history(metrics)
    load_network(MODEL, torch.device("cpu"))  # raises UserError if missing or damaged
    evaluation = None
    if outputs.EVALUATE_METRICS.is_file():
        test = outputs.read_evaluate_metrics()
        if test.model_md5 == file_md5(MODEL):
            evaluation = test, outputs.read_predictions(test)
    return Results(metrics, history, evaluation)


def _select_run(
    client: MlflowClient, experiment_id: str, fingerprint: str, digest: str
) -> Run | None:
    """Return the run that shows these files, or has this model, or was interrupted here."""
    runs = find_runs(client, experiment_id, fingerprint)
    model = file_md5(MODEL)
    candidates = [
        *(run for run in runs if run.data.tags.get(PUBLISHED) == digest),
        *(run for run in runs if run.data.tags.get(MODEL_MD5) == model),
        *(run for run in runs if is_interrupted(run) and MODEL_MD5 not in run.data.tags),
    ]
    return candidates[0] if candidates else None


def _logged_model(client: MlflowClient, experiment_id: str, run_id: str) -> str | None:
    models = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    ready = [model for model in models if str(model.status) == "READY"]
    return f"models:/{ready[0].model_id}" if ready else None


def _log_evaluation(
    client: MlflowClient, run_id: str, model_uri: str, evaluation: Evaluation, params: Params
) -> list[str]:
    logged = client.get_run(run_id).data.params  # MLflow does not let a parameter change
    settings = params.evaluate.model_dump()
    missing = {name: settings[name] for name in settings if f"evaluate.{name}" not in logged}
    log_params(client, run_id, "evaluate", missing)
    test, predictions = evaluation
    values = test.model_dump(exclude={"model_md5"})
    metrics = [metric(name.replace("_", "/", 1), value) for name, value in values.items()]
    log_metrics(client, run_id, metrics)
    level = params.publish.champion_level
    outcome = register(client, run_id, model_uri, predictions, level)
    return [outcome] if outcome else []


def _description(results: Results) -> str:
    """Return the run's description, in Markdown."""
    metrics = results.metrics
    lines = [f"{metrics.epochs} epochs on {metrics.device}, {metrics.seconds:.0f} s."]
    if metrics.validation_accuracy is not None:
        lines.append(f"Validation accuracy **{metrics.validation_accuracy:.2%}**.")
    if results.evaluation:
        test, _ = results.evaluation
        lines.append(
            f"Test accuracy **{test.test_accuracy:.2%}**, 95 % interval "
            f"{test.test_accuracy_low:.2%} to {test.test_accuracy_high:.2%}."
        )
    text = " ".join(lines)
    figures = [path for path in results.files() if path.suffix == ".png"]
    if figures:
        listed = "\n".join(f"- `{path.parent.name}/{path.name}`" for path in figures)
        text += f"\n\nFigures among the artifacts:\n\n{listed}"
    return text
