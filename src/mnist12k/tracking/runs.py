"""The run of a training: created, filled, shown live, and recognised if it was abandoned."""

import os
import platform
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version

import pandas as pd
from mlflow import MlflowClient
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]
from mlflow.entities import DatasetInput, InputTag, Metric, Param, Run
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from mnist12k.cnn.history import Epoch
from mnist12k.cnn.settings import Train
from mnist12k.fingerprint import file_md5, folder_md5, git_state, training_fingerprint
from mnist12k.paths import DATA, MODEL
from mnist12k.processes import is_gone, this_process
from mnist12k.tracking.store import BestEffort, connect, retry_on_conflict

# Tags: what went into a training, what came out (the MD5 of its model), and who logs it.
FINGERPRINT, MODEL_MD5, PROCESS = "mnist12k.fingerprint", "mnist12k.model", "mnist12k.process"
VERSIONS = ("dvc", "mlflow", "numpy", "torch", "torchvision")
EPOCH_METRICS = {  # the columns of history.csv
    "learning_rate": "learning_rate",
    "train_loss": "train/loss",
    "train_accuracy": "train/accuracy",
    "validation_loss": "validation/loss",
    "validation_accuracy": "validation/accuracy",
    "seconds": "seconds",  # last: an epoch that has it is complete
}
BATCH_SIZE = 1000  # metrics per request, MLflow's limit


@contextmanager
def live_run(settings: Train, resumes: bool = False) -> Iterator[Callable[[Epoch], None]]:
    """Keep a run open while the block trains; yield the function that logs an epoch.

    A training that resumes continues the run that was interrupted on this machine. The run ends as
    FINISHED, as KILLED on Ctrl-C, or as FAILED. Tracking errors never stop the training: `publish`
    completes the run.
    """
    best_effort = BestEffort()
    started = time.time()

    def start() -> tuple[MlflowClient, str, SystemMetricsMonitor]:
        client, experiment_id = connect()
        end_abandoned_runs(client, experiment_id)
        run = interrupted_run(client, experiment_id, settings) if resumes else None
        run_id = run or create_run(client, experiment_id, settings, started)
        logged.update(point.step for point in client.get_metric_history(run_id, "seconds"))
        monitor = SystemMetricsMonitor(run_id)
        monitor.start()
        return client, run_id, monitor

    logged: set[int] = set()

    run = best_effort(start)
    if run is None:
        yield lambda _: None
        return
    client, run_id, monitor = run

    def log_epoch(epoch: Epoch) -> None:
        history = pd.DataFrame([epoch])
        begun = time.time() - epoch.seconds
        best_effort(lambda: log_epochs(client, run_id, history, begun, skip=logged))

    status = "FAILED"
    try:
        yield log_epoch
        status = "FINISHED"
        best_effort(lambda: client.set_tag(run_id, MODEL_MD5, file_md5(MODEL)))
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        best_effort(monitor.finish)
        best_effort(lambda: client.set_terminated(run_id, status))


def create_run(client: MlflowClient, experiment_id: str, settings: Train, started: float) -> str:
    """Create the run of a training that began at `started` (seconds since 1970); return its id.

    It has everything that is known before training: parameters, data, versions, commit.
    """
    fingerprint = training_fingerprint(settings)
    name = os.environ.get("DVC_EXP_NAME") or f"{settings.recipe}-{fingerprint[:7]}"
    tags = {FINGERPRINT: fingerprint, PROCESS: this_process(), "recipe": settings.recipe}
    run = client.create_run(experiment_id, int(started * 1000), tags | _environment(), name)
    run_id = str(run.info.run_id)
    log_params(client, run_id, "train", settings.model_dump())
    source = LocalArtifactDatasetSource(str(DATA))
    dataset = MetaDataset(source, name="mnist", digest=folder_md5(DATA))  # type: ignore[abstract]
    context = InputTag("mlflow.data.context", "training")
    inputs = [DatasetInput(dataset._to_mlflow_entity(), [context])]
    retry_on_conflict(lambda: client.log_inputs(run_id, inputs))
    return run_id


def interrupted_run(client: MlflowClient, experiment_id: str, settings: Train) -> str | None:
    """Reopen the latest run of a training that was interrupted on this machine; return its id."""
    for run in find_runs(client, experiment_id, training_fingerprint(settings)):
        if is_interrupted(run):
            client.update_run(run.info.run_id, "RUNNING")
            client.set_tag(run.info.run_id, PROCESS, this_process())
            return str(run.info.run_id)
    return None


def is_interrupted(run: Run) -> bool:
    """Return whether a run has neither finished nor failed, and its process is gone."""
    return run.info.status in ("RUNNING", "KILLED") and is_gone(run.data.tags.get(PROCESS, ""))


def find_runs(client: MlflowClient, experiment_id: str, fingerprint: str) -> list[Run]:
    """Return the runs with a fingerprint, the latest first."""
    query = f"tags.`{FINGERPRINT}` = '{fingerprint}'"
    return list(client.search_runs([experiment_id], query, order_by=["attributes.start_time DESC"]))


def log_params(
    client: MlflowClient, run_id: str, section: str, values: Mapping[str, object]
) -> None:
    """Log parameters by their names in params.yaml, like train.learning_rate."""
    params = [Param(f"{section}.{name}", str(value)) for name, value in values.items()]
    client.log_batch(run_id, params=params)


def log_epochs(
    client: MlflowClient,
    run_id: str,
    history: pd.DataFrame,
    started: float,
    skip: Collection[int] = (),
) -> None:
    """Log a history that began at `started`, except for the epochs in `skip`."""
    ended = started + history["seconds"].cumsum()
    missing = history.assign(ended=ended)[~history["epoch"].isin(skip)]
    metrics = [
        Metric(name, float(row[column]), int(row["ended"] * 1000), int(row["epoch"]))
        for row in missing.to_dict("records")
        for column, name in EPOCH_METRICS.items()
        if pd.notna(row[column])
    ]
    log_metrics(client, run_id, metrics)


def metric(name: str, value: float, step: int = 0) -> Metric:
    """Return a metric with the present time."""
    return Metric(name, float(value), int(time.time() * 1000), step)


def log_metrics(client: MlflowClient, run_id: str, metrics: Sequence[Metric]) -> None:
    """Log any number of metrics."""
    for start in range(0, len(metrics), BATCH_SIZE):
        client.log_batch(run_id, metrics[start : start + BATCH_SIZE])


def abandoned_runs(client: MlflowClient, experiment_id: str) -> list[Run]:
    """Return the open runs whose process, on this machine, has ended."""
    running = client.search_runs([experiment_id], "attributes.status = 'RUNNING'")
    return [run for run in running if is_abandoned(run)]


def end_abandoned_runs(client: MlflowClient, experiment_id: str) -> list[str]:
    """Mark abandoned runs as KILLED; return their names."""
    abandoned = abandoned_runs(client, experiment_id)
    for run in abandoned:
        client.set_terminated(run.info.run_id, "KILLED")
    return [str(run.info.run_name) for run in abandoned]


def is_abandoned(run: Run) -> bool:
    """Return whether a run is open but its process, on this machine, has ended."""
    return run.info.status == "RUNNING" and is_gone(run.data.tags.get(PROCESS, ""))


def _environment() -> dict[str, str]:
    tags = {f"version.{name}": version(name) for name in VERSIONS}
    tags["version.python"] = platform.python_version()
    if experiment := os.environ.get("DVC_EXP_NAME"):
        tags["dvc.experiment"] = experiment
    if state := git_state():
        tags["mlflow.source.git.commit"], tags["git.clean"] = state
    return tags
