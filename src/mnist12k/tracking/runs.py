"""The run of a training: created, filled, shown live, and recognised if it was abandoned."""

import contextlib
import getpass
import hashlib
import os
import platform
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from mnist12k.cnn.settings import Train
from mnist12k.digits.settings import IDX_FILES, RAW
from mnist12k.files import is_temporary
from mnist12k.fingerprint import file_md5, git_state, training_fingerprint
from mnist12k.paths import DATA, MODEL
from mnist12k.processes import is_gone, register_process, this_process
from mnist12k.tracking.store import BestEffort, connect, retry_on_conflict

if TYPE_CHECKING:  # it imports PyTorch, which takes seconds
    from mnist12k.cnn.history import Epoch

# Tags: what went into a training, what came out (the MD5 of its model), and who logs it.
FINGERPRINT, MODEL_MD5, PROCESS = "mnist12k.fingerprint", "mnist12k.model", "mnist12k.process"
VERSIONS = ("dvc", "mlflow", "numpy", "torch", "torchvision")
# The columns of history.csv, results first: MLflow's page that compares runs opens on the metric
# that a run logged first. The system's metrics follow the first epoch.
EPOCH_METRICS = {
    "validation_loss": "validation/loss",
    "validation_accuracy": "validation/accuracy",
    "train_loss": "train/loss",
    "train_accuracy": "train/accuracy",
    "learning_rate": "train/learning_rate",
    "seconds": "train/seconds",
}
LAST_METRIC = EPOCH_METRICS["seconds"]  # an epoch that has it is complete
BATCH_SIZE = 1000  # metrics per request, MLflow's limit
COLOURS = ("#1f77b4", "#d95f02", "#2a9d8f", "#c1121f", "#7b5ea7", "#8c564b", "#3a5a40", "#b5838d")


@contextmanager
def live_run(settings: Train, resumes: bool = False) -> Iterator[Callable[["Epoch"], None]]:
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
        run = interrupted_run(client, experiment_id, settings, resumes)
        run_id = run or create_run(client, experiment_id, settings, started)
        logged.update(point.step for point in client.get_metric_history(run_id, LAST_METRIC))
        return client, run_id, SystemMetricsMonitor(run_id)

    logged: set[int] = set()

    run = best_effort(start)
    if run is None:
        yield lambda _: None
        return
    client, run_id, monitor = run
    monitored = False

    def log_epoch(epoch: "Epoch") -> None:
        nonlocal monitored
        history = pd.DataFrame([epoch])
        begun = time.time() - epoch.seconds
        best_effort(lambda: log_epochs(client, run_id, history, begun, skip=logged))
        if not monitored:
            monitored = True
            best_effort(monitor.start)

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
    tags = {FINGERPRINT: fingerprint, PROCESS: register_process()}
    tags |= {"network": settings.network, "recipe": settings.recipe}
    tags |= {"mlflow.runColor": colour(settings.recipe)} | origin() | _environment()
    run = client.create_run(experiment_id, int(started * 1000), tags, name)
    log_inputs(client, run, settings)
    return str(run.info.run_id)


def log_inputs(client: MlflowClient, run: Run, settings: Train) -> None:
    """Log a training's parameters and data sets, as far as its run lacks them."""
    log_params(client, run, "train", settings.model_dump(exclude={"architecture"}))
    # Short, since the page that compares runs shows every value whole.
    layers = settings.architecture.model_dump(
        mode="json", include={"blocks", "head"}, exclude_defaults=True
    )
    log_params(client, run, f"networks.{settings.network}", layers)
    known = {each.dataset.name for each in run.inputs.dataset_inputs} if run.inputs else set()
    inputs = [
        DatasetInput(dataset, [InputTag("mlflow.data.context", context)])
        for context, dataset in data_sets(settings).items()
        if dataset.name not in known
    ]
    if inputs:
        retry_on_conflict(lambda: client.log_inputs(run.info.run_id, inputs))


def data_sets(settings: Train) -> dict[str, Dataset]:
    """Return the data sets of a training: training, test, and validation if there is one.

    Their digests are of the images and labels, and of how many are held out.
    """
    contexts = {"training": "train", "validation": "train", "test": "t10k"}
    if not settings.validation_size:
        del contexts["validation"]
    found = {}
    for context, part in contexts.items():
        files = [DATA / RAW / name for name in IDX_FILES if name.startswith(part)]
        held_out = settings.validation_size if part == "train" else 0
        content = f"{held_out} {' '.join(map(file_md5, files))}"
        digest = hashlib.sha256(content.encode()).hexdigest()[:32]
        source = LocalArtifactDatasetSource(str(DATA))
        dataset = MetaDataset(source, name=f"{DATA.name}-{context}", digest=digest)  # type: ignore[abstract]
        found[context] = dataset._to_mlflow_entity()
    return found


def colour(recipe: str) -> str:
    """Return the colour of a recipe's runs in charts."""
    return COLOURS[zlib.crc32(recipe.encode()) % len(COLOURS)]


def origin() -> dict[str, str]:
    """Return the tags that tell who runs what."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        user = "unknown"
    command = " ".join([Path(sys.argv[0]).stem, *sys.argv[1:]])
    names = ("mlflow.user", "mlflow.source.name", "mlflow.source.type")
    return dict(zip(names, (user, command[:200], "LOCAL"), strict=True))


def interrupted_run(
    client: MlflowClient, experiment_id: str, settings: Train, resumes: bool
) -> str | None:
    """Reopen the latest run of a training that was interrupted on this machine; return its id.

    A training that does not resume continues only a run without epochs.
    """
    for run in find_runs(client, experiment_id, training_fingerprint(settings)):
        if is_interrupted(run) and (resumes or LAST_METRIC not in run.data.metrics):
            reopen(client, run)
            log_inputs(client, run, settings)
            return str(run.info.run_id)
    return None


def reopen(client: MlflowClient, run: Run) -> None:
    """Make this process the one that completes a run."""
    client.set_tag(run.info.run_id, PROCESS, register_process())
    client.update_run(run.info.run_id, "RUNNING")


def open_run(
    client: MlflowClient, experiment_id: str, known: Iterable[Run], tags: Mapping[str, str]
) -> Run:
    """Return the finished one of the known runs, else this machine's unfinished one, else a new."""
    known = list(known)
    for run in known:
        if run.info.status == "FINISHED":
            return run
    for run in known:
        owner = run.data.tags.get(PROCESS, "")
        if owner == this_process():
            return run
        if is_gone(owner):
            reopen(client, run)
            return run
    own = {PROCESS: register_process()} | origin()
    return client.create_run(experiment_id, tags=dict(tags) | own)


def is_interrupted(run: Run) -> bool:
    """Return whether a run has neither finished nor failed, and its process is gone."""
    return run.info.status in ("RUNNING", "KILLED") and is_gone(run.data.tags.get(PROCESS, ""))


def find_runs(
    client: MlflowClient, experiment_id: str, fingerprint: str, view: int = ViewType.ACTIVE_ONLY
) -> list[Run]:
    """Return the runs with a fingerprint, the latest first."""
    query, order = f"tags.`{FINGERPRINT}` = '{fingerprint}'", ["attributes.start_time DESC"]
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment_id], query, view, order_by=order, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


def log_params(client: MlflowClient, run: Run, section: str, values: Mapping[str, object]) -> None:
    """Log the parameters that a run lacks, by their names in params.yaml: train.learning_rate.

    MLflow does not let a parameter change.
    """
    named = {f"{section}.{name}": str(value) for name, value in values.items()}
    missing = [Param(*item) for item in named.items() if item[0] not in run.data.params]
    if missing:
        client.log_batch(run.info.run_id, params=missing)


def log_files(client: MlflowClient, run: Run, files: Iterable[Path]) -> list[Path]:
    """Log files to the artifact folders with the names of their folders; return those logged.

    Files that the store can read, with the same content, are skipped.
    """
    missing = missing_files(run, files)
    for path in missing:
        client.log_artifact(run.info.run_id, str(path), path.parent.name)
    return missing


def missing_files(run: Run, files: Iterable[Path]) -> list[Path]:
    """Return the files that the store does not have, or has with other content."""
    files = [path for path in files if not is_temporary(path)]
    missing = set(files)
    with tempfile.TemporaryDirectory() as folder:
        for name in {path.parent.name for path in files}:
            with contextlib.suppress(MlflowException, OSError):  # there are none, or none readable
                download_artifacts(run_id=run.info.run_id, artifact_path=name, dst_path=folder)
        for path in files:
            copy = Path(folder) / path.parent.name / path.name
            if copy.is_file() and copy.read_bytes() == path.read_bytes():
                missing.remove(path)
    return sorted(missing)


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
    _send(client, run_id, metrics)


def metric(name: str, value: float, step: int = 0) -> Metric:
    """Return a metric with the present time."""
    return Metric(name, float(value), int(time.time() * 1000), step)


def log_metrics(client: MlflowClient, run: Run, metrics: Sequence[Metric]) -> bool:
    """Log those of any number of metrics that a run lacks; return whether there were any."""
    names = {each.key for each in metrics} & set(run.data.metrics)
    logged = {
        (name, point.step, point.value)
        for name in names
        for point in client.get_metric_history(run.info.run_id, name)
    }
    missing = [each for each in metrics if (each.key, each.step, each.value) not in logged]
    _send(client, run.info.run_id, missing)
    return bool(missing)


def log_model_metrics(client: MlflowClient, run_id: str, model_id: str) -> None:
    """Give a logged model the last test and validation metrics of its run, with their data sets."""
    known = {each.key for each in client.get_logged_model(model_id).metrics or []}
    run = client.get_run(run_id)
    assert run.inputs is not None
    sets = {tag.value: each.dataset for each in run.inputs.dataset_inputs for tag in each.tags}
    metrics = []
    for name in sorted(set(run.data.metrics) - known):
        if dataset := sets.get(name.partition("/")[0]):
            last = max(client.get_metric_history(run_id, name), key=lambda point: point.step)
            point = (name, last.value, last.timestamp, last.step)
            metrics.append(Metric(*point, model_id, dataset.name, dataset.digest, run_id))
    _send(client, run_id, metrics)


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


def _send(client: MlflowClient, run_id: str, metrics: Sequence[Metric]) -> None:
    for start in range(0, len(metrics), BATCH_SIZE):
        client.log_batch(run_id, metrics[start : start + BATCH_SIZE])


def _environment() -> dict[str, str]:
    tags = {f"version.{name}": version(name) for name in VERSIONS}
    tags["version.python"] = platform.python_version()
    if experiment := os.environ.get("DVC_EXP_NAME"):
        tags["dvc.experiment"] = experiment
    if state := git_state():
        tags["mlflow.source.git.commit"], tags["git.clean"] = state
    return tags
