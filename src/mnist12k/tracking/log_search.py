"""One MLflow run per search, with a child per trial and per training of a finalist.

From the files in reports/tune.
"""

import time
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE

from mnist12k.errors import without_passwords
from mnist12k.files import damaged, read_json
from mnist12k.fingerprint import file_md5
from mnist12k.outputs import (
    FINALISTS,
    TRIAL_COLUMNS,
    TRIAL_EPOCHS,
    TRIALS,
    TUNE_METRICS,
    VALIDATION,
    TuneMetrics,
    read_finalists,
    read_trial_epochs,
    read_trials,
)
from mnist12k.paths import TUNE_REPORTS
from mnist12k.search.digest import study_digest
from mnist12k.search.settings import SearchSettings
from mnist12k.tracking.runs import (
    EPOCH_METRICS,
    FINGERPRINT,
    LAST_METRIC,
    find_runs,
    log_epochs,
    log_files,
    log_metrics,
    log_params,
    metric,
    open_run,
    reopen,
)
from mnist12k.tracking.store import connect, one_at_a_time

# Tags: which search it is; a trial's number, or a finalist's and its seed; its state; the MD5 of
# the metrics.json that a finished search shows; the verdict.
SEARCH, TRIAL, STATE = "mnist12k.search", "mnist12k.trial", "optuna.state"
RESULTS, VERDICT = "mnist12k.results", "mnist12k.verdict"
# Parameters of a search, which MLflow lets no one change; the rest may change when it goes on.
FIXED = {"recipe", "seed", "seeds_per_trial", "space"}
STATUS = {"complete": "FINISHED", "pruned": "KILLED"}  # MLflow's, by Optuna's state


def log_search(settings: SearchSettings, *, only_finished: bool = False) -> None:
    """Add to the search's run what reports/tune has and the run lacks: trials, metrics, figures.

    With `only_finished`, log nothing if reports/tune does not hold a finished search of this space.

    Raises UserError if a file in reports/tune is damaged or incomplete.
    """
    metrics = _read_metrics(study_digest(settings))
    trials = read_trials(metrics)
    epochs = read_trial_epochs()
    for number, count in zip(trials["trial"], trials["epochs"], strict=True):
        if (epochs["trial"] == number).sum() != count:
            raise damaged(TRIAL_EPOCHS, f"trial {number} should have {count} epochs")
    finalists = read_finalists() if metrics and FINALISTS.is_file() else None
    known = {"start", *trials["trial"].astype(str)}
    if finalists is not None and not known.issuperset(finalists["trial"]):
        raise damaged(FINALISTS, f"a trial is not in {TRIALS}")
    if metrics is not None or not only_finished:
        search = metrics.search if metrics else ""
        log_trials(settings, search, trials, epochs, metrics, finalists)


def log_trials(
    settings: SearchSettings,
    search: str,
    trials: pd.DataFrame,
    epochs: pd.DataFrame,
    metrics: TuneMetrics | None = None,
    finalists: pd.DataFrame | None = None,
) -> None:
    """Add trials, and once they have ended the metrics and figures in reports/tune, to a run.

    The columns are those of trials.csv, epochs.csv and finalists.csv. Without `metrics`, the search
    still runs. One that goes on, since it may have more trials than before, keeps its run.
    """
    fingerprint = study_digest(settings)
    histories = {number: epochs[epochs["trial"] == number] for number in trials["trial"]}
    results = "" if metrics is None else file_md5(TUNE_METRICS)
    with one_at_a_time():
        client, experiment_id = connect()
        runs = find_runs(client, experiment_id, fingerprint)
        parents = [run for run in runs if MLFLOW_PARENT_RUN_ID not in run.data.tags]
        parents = [run for run in parents if run.data.tags.get(SEARCH) == search]
        tags = {FINGERPRINT: fingerprint, MLFLOW_RUN_NAME: f"tune-{fingerprint[:7]}"}
        parent = open_run(client, experiment_id, parents, tags | {SEARCH: search})
        parent_id = parent.info.run_id
        if metrics is None and parent.info.status == "FINISHED":
            reopen(client, parent)
        tune = settings.tune.model_dump()
        log_params(client, parent, "tune", {name: tune[name] for name in sorted(FIXED)})
        for name in sorted(tune.keys() - FIXED):
            value = without_passwords(str(tune[name]))
            if parent.data.tags.get(f"tune.{name}") != value:
                client.set_tag(parent_id, f"tune.{name}", value)

        children = [run for run in runs if run.data.tags.get(MLFLOW_PARENT_RUN_ID) == parent_id]
        tags = {FINGERPRINT: fingerprint, MLFLOW_PARENT_RUN_ID: parent_id}

        def child(number: str, name: str) -> Run | None:
            """Open a child's run; return None if it is complete."""
            known = [run for run in children if run.data.tags.get(TRIAL) == number]
            # Set last: a pruned trial is KILLED, as one whose logging was interrupted may be.
            if any(STATE in run.data.tags for run in known):
                return None
            named = tags | {TRIAL: number, MLFLOW_RUN_NAME: name}
            return open_run(client, experiment_id, known, named)

        points: dict[str, dict[str, Any]] = {"start": {}}
        # Integers stay integers even if some trials have no such parameter.
        for _, trial in trials.convert_dtypes().iterrows():
            number = str(trial["trial"])
            points[number] = _parameters(trial)
            if run := child(number, f"trial {number}"):
                _log_trial(client, run, trial, histories[trial["trial"]])
        for _, finalist in () if finalists is None else finalists.iterrows():
            number, seed = finalist["trial"], finalist["seed"]
            name = "the recipe" if number == "start" else f"trial {number}"
            if run := child(f"{number} from seed {seed}", f"{name} from seed {seed}"):
                _log_finalist(client, run, finalist, points[number])

        if metrics is not None:
            values = metrics.model_dump(exclude_none=True)
            numbers = [name for name, value in values.items() if not isinstance(value, str)]
            figures = [metric(f"tune/{name}", values[name]) for name in numbers]
            log_metrics(client, parent, figures)
            log_files(client, parent, TUNE_REPORTS.iterdir())
            client.set_tag(parent_id, VERDICT, metrics.verdict)
            client.set_tag(parent_id, MLFLOW_RUN_NOTE, metrics.summary())
            if parent.data.tags.get(RESULTS) != results or parent.info.status != "FINISHED":
                client.set_tag(parent_id, RESULTS, results)
                client.set_terminated(parent_id)


def _read_metrics(fingerprint: str) -> TuneMetrics | None:
    """Return the metrics of the finished search with this fingerprint, or None."""
    if not TUNE_METRICS.is_file():
        return None
    metrics = read_json(TUNE_METRICS, TuneMetrics)
    return metrics if metrics.fingerprint == fingerprint else None


def _log_trial(client: MlflowClient, run: Run, trial: pd.Series, history: pd.DataFrame) -> None:
    run_id, started = run.info.run_id, time.time() - trial["seconds"]
    log_params(client, run, "train", _parameters(trial))
    logged = {point.step for point in client.get_metric_history(run_id, LAST_METRIC)}
    log_epochs(client, run_id, history, started, skip=logged)
    client.update_run(run_id, STATUS[trial["state"]])
    client.set_tag(run_id, STATE, trial["state"])


def _log_finalist(
    client: MlflowClient, run: Run, finalist: pd.Series, parameters: dict[str, Any]
) -> None:
    log_params(client, run, "train", parameters | {"seed": finalist["seed"]})
    found = finalist[[*VALIDATION]].dropna()
    log_metrics(client, run, [metric(EPOCH_METRICS[name], found[name]) for name in found.index])
    state = "complete" if len(found) else "pruned"  # it diverged
    client.update_run(run.info.run_id, STATUS[state])
    client.set_tag(run.info.run_id, STATE, state)


def _parameters(trial: pd.Series) -> dict[str, Any]:
    values = trial.drop(list(TRIAL_COLUMNS)).dropna()
    return {str(name): value for name, value in values.items()}
