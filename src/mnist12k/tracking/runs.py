"""A training's run: how it is made, found, filled, and known to be dead."""

import os
import platform
import time
from collections.abc import Iterable
from importlib.metadata import version

import git
from mlflow import MlflowClient
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]
from mlflow.entities import DatasetInput, InputTag, Metric, Param, Run, RunTag

from mnist12k.cnn.history import Epoch
from mnist12k.fingerprint import DATA, folder_md5, training_fingerprint
from mnist12k.params import Params
from mnist12k.processes import is_gone, this_process
from mnist12k.tracking.store import again_if_outrun

FINGERPRINT = "mnist12k.fingerprint"
PROCESS = "mnist12k.process"
VERSIONS = ("dvc", "mlflow", "numpy", "torch", "torchvision")


def create_run(client: MlflowClient, experiment_id: str, params: Params, started: float) -> str:
    """Open a run for a training that began at `started` (seconds since 1970); return its id.

    It holds from the first what is known before training: parameters, data, versions, commit.
    """
    fingerprint = training_fingerprint(params.train)
    name = os.environ.get("DVC_EXP_NAME") or f"{params.train.recipe}-{fingerprint[:7]}"
    ours = {FINGERPRINT: fingerprint, PROCESS: this_process(), "recipe": params.train.recipe}
    tags = ours | _environment()
    run = client.create_run(experiment_id, int(started * 1000), tags, name)
    run_id = str(run.info.run_id)
    log_params(client, run_id, "train", params.train.model_dump())
    source = LocalArtifactDatasetSource(str(DATA))
    dataset = MetaDataset(source, name="mnist", digest=folder_md5(DATA))  # type: ignore[abstract]
    context = InputTag("mlflow.data.context", "training")
    inputs = [DatasetInput(dataset._to_mlflow_entity(), [context])]
    again_if_outrun(lambda: client.log_inputs(run_id, inputs))
    return run_id


def runs_of(client: MlflowClient, experiment_id: str, fingerprint: str) -> list[Run]:
    """Return the runs of a fingerprint, the latest first."""
    return list(
        client.search_runs(
            [experiment_id],
            f"tags.`{FINGERPRINT}` = '{fingerprint}'",
            order_by=["attributes.start_time DESC"],
        )
    )


def log_params(client: MlflowClient, run_id: str, section: str, values: dict[str, object]) -> None:
    """Add parameters under their names in params.yaml, like train.learning_rate."""
    params = [Param(f"{section}.{name}", str(value)) for name, value in values.items()]
    client.log_batch(run_id, params=params)


def log_epochs(client: MlflowClient, run_id: str, epochs: Iterable[Epoch], started: float) -> None:
    """Add epochs' figures, each at the moment that it ended after `started`."""
    metrics = []
    ended = started
    for epoch in epochs:
        ended += epoch.seconds
        found = {
            "learning_rate": epoch.learning_rate,
            "train/loss": epoch.train_loss,
            "train/accuracy": epoch.train_accuracy,
            "validation/loss": epoch.validation_loss,
            "validation/accuracy": epoch.validation_accuracy,
            "seconds": epoch.seconds,
        }
        metrics += [
            Metric(name, value, int(ended * 1000), epoch.epoch)
            for name, value in found.items()
            if value is not None
        ]
    for start in range(0, len(metrics), 1000):  # as many as MLflow takes at once
        client.log_batch(run_id, metrics[start : start + 1000])


def abandoned_runs(client: MlflowClient, experiment_id: str) -> list[Run]:
    """Return the runs still open whose process, on this machine, is gone."""
    running = client.search_runs([experiment_id], "attributes.status = 'RUNNING'")
    return [run for run in running if is_abandoned(run)]


def end_abandoned_runs(client: MlflowClient, experiment_id: str) -> list[str]:
    """Mark as KILLED the runs whose process is gone; return their names."""
    abandoned = abandoned_runs(client, experiment_id)
    for run in abandoned:
        client.set_terminated(run.info.run_id, "KILLED")
    return [str(run.info.run_name) for run in abandoned]


def is_abandoned(run: Run) -> bool:
    """Tell whether a run is open though the process that opened it, on this machine, is gone."""
    if run.info.status != "RUNNING":
        return False
    return is_gone(run.data.tags.get(PROCESS, ""))


def set_tags(client: MlflowClient, run_id: str, tags: dict[str, str]) -> None:
    """Set several tags at once."""
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def now() -> float:
    """Return seconds since 1970."""
    return time.time()


def _environment() -> dict[str, str]:
    tags = {f"version.{name}": version(name) for name in VERSIONS}
    tags["version.python"] = platform.python_version()
    if experiment_name := os.environ.get("DVC_EXP_NAME"):
        tags["dvc.experiment"] = experiment_name
    try:
        repository = git.Repo(search_parent_directories=True)
        tags["mlflow.source.git.commit"] = repository.head.commit.hexsha
        tags["git.clean"] = str(not repository.is_dirty()).lower()
    except (git.InvalidGitRepositoryError, ValueError):
        pass  # a copy without its history: there is no commit to name
    return tags
