"""Complete the run of the training in the workspace, from its files alone.

Imports PyTorch only where something is missing: most often there is nothing to do.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import Run, RunTag, ViewType
from pandas import DataFrame

from mnist12k import outputs
from mnist12k.cnn.settings import Train
from mnist12k.errors import UserError, warn
from mnist12k.fingerprint import file_md5, training_fingerprint
from mnist12k.outputs import EvaluateResult, TrainResult
from mnist12k.params import Params
from mnist12k.paths import EVALUATE_REPORTS, MODEL, TRAIN_REPORTS
from mnist12k.tracking.log_backprop import log_study
from mnist12k.tracking.log_search import log_search
from mnist12k.tracking.logged_model import is_as_compared, model_id
from mnist12k.tracking.registry import register, version_fault
from mnist12k.tracking.runs import (
    LAST_METRIC,
    MODEL_MD5,
    create_run,
    end_abandoned_runs,
    find_runs,
    is_interrupted,
    log_epochs,
    log_files,
    log_inputs,
    log_metrics,
    log_model_metrics,
    log_params,
    metric,
    missing_files,
)
from mnist12k.tracking.store import connect, is_local, one_at_a_time

PUBLISHED = "mnist12k.published"  # tag: the digest of the files that a complete run shows

Evaluation = tuple[EvaluateResult, DataFrame]  # the DataFrame has the predictions


class Results(NamedTuple):
    """The training in the workspace, and its evaluation, or None if that is of another model."""

    trained: TrainResult
    history: DataFrame
    evaluation: Evaluation | None

    def files(self) -> list[Path]:
        """Return the files to log, each to the artifact folder with the name of its folder."""
        files = [outputs.HISTORY, outputs.TRAIN_RESULT]
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
    models/, whatever its tags claim: what the store has is read back. No run is ever deleted; one
    in the trash is restored. The study in reports/backprop and the search in reports/tune are
    logged as well; a damaged file of the optional search is only a warning.

    Raises UserError if there is no training, if params.yaml, data or code have changed since, or
    if a file of the training, the evaluation or the study is missing or damaged.
    """
    with one_at_a_time():
        if not is_local():
            connect()  # so that a store that fails is reported once
        try:
            if outputs.TUNE_METRICS.exists():
                log_search(params.search(), only_finished=True)
        except UserError as error:
            warn(str(error))
        try:
            if outputs.BACKPROP_METRICS.exists():
                log_study(params.backprop)
        except UserError:
            _publish_training(params)  # it does not depend on the study
            raise
        return _publish_training(params)


def faults(client: MlflowClient, experiment_id: str | None, params: Params) -> list[str]:
    """Return what MLflow lacks of the workspace's training; empty if nothing, or no training.

    `publish` adds it. Without an `experiment_id` there is no experiment.
    """
    try:
        results = read_results(params.train)
    except UserError:  # DVC knows
        return []
    run = _select_run(client, experiment_id, results) if experiment_id else None
    if experiment_id is None or run is None or run.info.lifecycle_stage == "deleted":
        return ["the run of the training is missing"]
    name, found = run.info.run_name, []
    if missing := missing_files(run, results.files()):
        found.append(f"run {name} lacks {len(missing)} files, {missing[0]} among them")
    uris = _logged_models(client, experiment_id, run.info.run_id)
    if not any(_is_usable(client, uri) for uri, is_ready in uris.items() if is_ready):
        found.append(f"run {name} has no usable model")
    if results.evaluation:
        found += [fault] if (fault := version_fault(client, run.info.run_id)) else []
    if not found and run.data.tags.get(PUBLISHED) != results.digest():
        found.append(f"run {name} is incomplete")
    return found


def _publish_training(params: Params) -> list[str]:
    results = read_results(params.train)
    trained, digest = results.trained, results.digest()
    client, experiment_id = connect()
    done = [f"run {name} was killed" for name in end_abandoned_runs(client, experiment_id)]
    run = _select_run(client, experiment_id, results)
    if run is None:
        run_id = create_run(client, experiment_id, params.train, trained.started)
        run = client.get_run(run_id)
    elif run.info.lifecycle_stage == "deleted":
        client.restore_run(run.info.run_id)
        done.append(f"run {run.info.run_name} was in the trash, and is restored")
    run_id, name = run.info.run_id, run.info.run_name
    complete = run.data.tags.get(PUBLISHED) == digest

    log_inputs(client, run, params.train)
    logged = {point.step for point in client.get_metric_history(run_id, LAST_METRIC)}
    log_epochs(client, run_id, results.history, trained.started, skip=logged)
    files = log_files(client, run, results.files())
    if complete and files:
        done.append(f"run {name} lacked {len(files)} files, which are logged again")
    model_uri, repaired = _usable_model(client, experiment_id, run_id)
    if repaired:
        done.append(f"run {name} had no usable model, which is logged again")
    if results.evaluation:
        done += _log_evaluation(client, run, model_uri, results.evaluation, params)
    if complete and not done:
        return done
    tags = {
        MODEL_MD5: file_md5(MODEL),
        "device": trained.device,
        "mlflow.note.content": _description(results, run_id),
    }
    if results.evaluation:
        tags[PUBLISHED] = digest
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    client.set_terminated(run_id, "FINISHED", int((trained.started + trained.seconds) * 1000))
    return done if complete else [*done, f"run {name} is complete"]


def read_results(settings: Train) -> Results:
    """Read and check every file before anything is logged."""
    trained = outputs.read_train_result()
    if trained.fingerprint != training_fingerprint(settings):
        raise UserError(
            f"params.yaml, the data or the code has changed since {MODEL} was trained; "
            "run `dvc repro` first"
        )
    history = outputs.read_history(trained)
    if outputs.EVALUATE_RESULT.exists():
        test = outputs.read_evaluate_result()
        if MODEL.is_file() and test.model_md5 == file_md5(MODEL):
            classes = settings.architecture.classes
            return Results(trained, history, (test, outputs.read_predictions(test, len(classes))))
    import torch

    from mnist12k.cnn.model_file import load_network

    load_network(MODEL, torch.device("cpu"))  # raises UserError if it is missing or damaged
    return Results(trained, history, None)


def _select_run(client: MlflowClient, experiment_id: str, results: Results) -> Run | None:
    """Return the run that shows these files, or has this model, or was interrupted here.

    A run in the trash is returned only if no other one has the model.
    """
    fingerprint, digest, model = results.trained.fingerprint, results.digest(), file_md5(MODEL)
    runs = find_runs(client, experiment_id, fingerprint)
    removed = find_runs(client, experiment_id, fingerprint, ViewType.DELETED_ONLY)
    candidates = [
        *(run for run in runs if run.data.tags.get(PUBLISHED) == digest),
        *(run for run in runs if run.data.tags.get(MODEL_MD5) == model),
        *(run for run in removed if run.data.tags.get(MODEL_MD5) == model),
        *(run for run in runs if is_interrupted(run) and MODEL_MD5 not in run.data.tags),
    ]
    return candidates[0] if candidates else None


def _usable_model(client: MlflowClient, experiment_id: str, run_id: str) -> tuple[str, bool]:
    """Return the URI of the run's logged model, and whether its files had to be logged again."""
    uris = _logged_models(client, experiment_id, run_id)
    for uri, is_ready in uris.items():
        if is_ready and _is_usable(client, uri):
            return uri, False
    from mnist12k.tracking.model import log_model, restore_model

    for uri, was_ready in uris.items():
        restore_model(client, run_id, uri)  # a registered version may refer to it
        return uri, was_ready
    return log_model(run_id), False


def _is_usable(client: MlflowClient, uri: str) -> bool:
    """Return whether a logged model can be loaded, and has the logits of models/cnn.pt."""
    as_compared = is_as_compared(client, uri)
    if as_compared is not None:
        return as_compared
    from mnist12k.tracking.model import is_exported

    return is_exported(client, uri)


def _logged_models(client: MlflowClient, experiment_id: str, run_id: str) -> dict[str, bool]:
    """Return whether each logged model of a run is ready, by its URI; one is not after a kill."""
    models = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    return {f"models:/{model.model_id}": str(model.status) == "READY" for model in models}


def _log_evaluation(
    client: MlflowClient, run: Run, model_uri: str, evaluation: Evaluation, params: Params
) -> list[str]:
    log_params(client, run, "evaluate", params.evaluate.model_dump())
    test, predictions = evaluation
    values = test.model_dump(exclude={"model_md5"})
    log_metrics(client, run, [metric(key.replace("_", "/", 1), values[key]) for key in values])
    run_id, level = run.info.run_id, params.publish.champion_level
    log_model_metrics(client, run_id, model_id(model_uri))
    tags = {
        "test_accuracy": f"{test.test_accuracy:.2%}",
        "test_accuracy_95": f"{test.test_accuracy_low:.2%} to {test.test_accuracy_high:.2%}",
        "network": params.train.network,
        "recipe": params.train.recipe,
    }
    outcome = register(client, run_id, model_uri, predictions, level, tags)
    return [outcome] if outcome else []


def _description(results: Results, run_id: str) -> str:
    """Return the run's description, in Markdown, with its figures as MLflow's server has them."""
    trained = results.trained
    lines = [f"{trained.epochs} epochs on {trained.device}, {trained.seconds:.0f} s."]
    if trained.validation_accuracy is not None:
        lines.append(f"Validation accuracy **{trained.validation_accuracy:.2%}**.")
    if results.evaluation:
        test, _ = results.evaluation
        lines.append(
            f"Test accuracy **{test.test_accuracy:.2%}**, 95 % interval "
            f"{test.test_accuracy_low:.2%} to {test.test_accuracy_high:.2%}."
        )
    text = " ".join(lines)
    for path in results.files():
        if path.suffix == ".png":
            artifact = f"{path.parent.name}/{path.name}"
            address = f"get-artifact?path={quote(artifact, safe='')}&run_uuid={run_id}"
            text += f"\n\n![{path.stem.replace('_', ' ')}]({address})"
    return text
