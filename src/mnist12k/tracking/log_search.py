"""One MLflow run per search, with one child per trial, from the files in reports/tune."""

import time
from collections.abc import Mapping

import pandas as pd
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from mnist12k.errors import without_passwords
from mnist12k.files import damaged, read_json
from mnist12k.outputs import (
    TRIAL_COLUMNS,
    TRIAL_EPOCHS,
    TUNE_METRICS,
    TuneMetrics,
    read_trial_epochs,
    read_trials,
)
from mnist12k.paths import TUNE_REPORTS
from mnist12k.processes import this_process
from mnist12k.search.settings import SearchSettings
from mnist12k.search.study import study_digest
from mnist12k.tracking.runs import (
    FINGERPRINT,
    PROCESS,
    find_runs,
    log_epochs,
    log_metrics,
    log_params,
    metric,
)
from mnist12k.tracking.store import connect

TRIAL, STATE = "mnist12k.trial", "optuna.state"  # tags
STATUS = {"complete": "FINISHED", "pruned": "KILLED"}  # MLflow's, by Optuna's state


def log_search(settings: SearchSettings, *, only_finished: bool = False) -> None:
    """Add to the search's run what reports/tune has and the run lacks.

    During a search these are new trials; after its end also its metrics and figures. With
    `only_finished`, log nothing if reports/tune does not hold a finished search of this space.

    Raises UserError if a file in reports/tune is damaged or incomplete.
    """
    fingerprint = study_digest(settings)
    metrics = _read_metrics(fingerprint)
    trials = read_trials(metrics)
    histories = _read_histories(trials)
    if only_finished and metrics is None:
        return
    client, experiment_id = connect()
    runs = find_runs(client, experiment_id, fingerprint)
    parent = next((run for run in runs if MLFLOW_PARENT_RUN_ID not in run.data.tags), None)
    tags = {FINGERPRINT: fingerprint, PROCESS: this_process()}
    parent_id = parent.info.run_id if parent else _open(client, experiment_id, settings, tags)

    logged = set()
    for run in runs:
        if run.data.tags.get(MLFLOW_PARENT_RUN_ID) != parent_id:
            continue
        if run.info.status == "RUNNING":  # logging it was interrupted
            client.delete_run(run.info.run_id)
        else:
            logged.add(int(run.data.tags[TRIAL]))
    tags = {FINGERPRINT: fingerprint, MLFLOW_PARENT_RUN_ID: parent_id}
    # Integers stay integers even if some trials have no such parameter.
    for _, trial in trials.convert_dtypes().iterrows():
        if trial["trial"] not in logged:
            _log_trial(client, experiment_id, tags, trial, histories[trial["trial"]])

    if metrics is not None and not (parent and parent.info.status == "FINISHED"):
        values = metrics.model_dump(exclude_none=True)
        numbers = [name for name, value in values.items() if not isinstance(value, str)]
        log_metrics(client, parent_id, [metric(f"tune/{name}", values[name]) for name in numbers])
        client.log_artifacts(parent_id, str(TUNE_REPORTS), "tune")
        client.set_terminated(parent_id)


def _read_metrics(fingerprint: str) -> TuneMetrics | None:
    """Return the metrics of the finished search with this fingerprint, or None."""
    if not TUNE_METRICS.is_file():
        return None
    metrics = read_json(TUNE_METRICS, TuneMetrics)
    return metrics if metrics.fingerprint == fingerprint else None


def _read_histories(trials: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """Return each trial's epochs; raise UserError if any is missing."""
    epochs = read_trial_epochs()
    histories = {number: epochs[epochs["trial"] == number] for number in trials["trial"]}
    for number, count in zip(trials["trial"], trials["epochs"], strict=True):
        if len(histories[number]) != count:
            raise damaged(TRIAL_EPOCHS, f"trial {number} should have {count} epochs")
    return histories


def _open(
    client: MlflowClient, experiment_id: str, settings: SearchSettings, tags: Mapping[str, str]
) -> str:
    name = f"tune-{tags[FINGERPRINT][:7]}"
    run_id = str(client.create_run(experiment_id, tags=dict(tags), run_name=name).info.run_id)
    shown = settings.tune.model_dump() | {"storage": without_passwords(settings.tune.storage)}
    log_params(client, run_id, "tune", shown)
    return run_id


def _log_trial(
    client: MlflowClient,
    experiment_id: str,
    tags: Mapping[str, str],
    trial: pd.Series,
    history: pd.DataFrame,
) -> None:
    started = time.time() - trial["seconds"]
    tags = {
        **tags,
        TRIAL: str(trial["trial"]),
        STATE: trial["state"],
        MLFLOW_RUN_NAME: f"trial {trial['trial']}",
    }
    run_id = str(client.create_run(experiment_id, int(started * 1000), tags).info.run_id)
    parameters = trial.drop(list(TRIAL_COLUMNS)).dropna()
    log_params(client, run_id, "train", {str(name): value for name, value in parameters.items()})
    log_epochs(client, run_id, history, started)
    client.set_terminated(run_id, STATUS[trial["state"]])
