"""One MLflow run a training: its epochs as they end, then its files, then its test result.

A run is found by its fingerprint, never by a stored id, so it shows what lies in the workspace.
"""

import csv
import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import git
import mlflow
import numpy as np
import torch
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]
from mlflow.entities import Run
from mlflow.models import infer_signature

from mnist12k.cnn.history import Epoch
from mnist12k.cnn.model_file import load_network
from mnist12k.fingerprint import DATA, data_digest, training_fingerprint
from mnist12k.params import Params
from mnist12k.tracking.store import experiment

FINGERPRINT = "mnist12k.fingerprint"
VERSIONS = ("dvc", "mlflow", "numpy", "torch", "torchvision")
MODEL = Path("models/cnn.pt")
TRAIN_REPORTS = Path("reports/train")
EVALUATE_REPORTS = Path("reports/evaluate")


@contextmanager
def tracked_training(params: Params) -> Iterator[Callable[[Epoch], None]]:
    """Keep one run open while the block trains; afterwards add what the training left behind.

    Yields what logs an epoch as it ends. The run ends as FINISHED, as KILLED by Ctrl-C, or as
    FAILED. A finished run replaces earlier ones of the same fingerprint.
    """
    with _new_run(params):
        yield _log_epoch
        _log_files()
        _delete_earlier_runs()


def _log_epoch(epoch: Epoch) -> None:
    found = {
        "learning_rate": epoch.learning_rate,
        "train/loss": epoch.train_loss,
        "train/accuracy": epoch.train_accuracy,
        "validation/loss": epoch.validation_loss,
        "validation/accuracy": epoch.validation_accuracy,
        "seconds": epoch.seconds,
    }
    known = {name: value for name, value in found.items() if value is not None}
    mlflow.log_metrics(known, step=epoch.epoch)


def log_evaluation(params: Params) -> None:
    """Add the test result to the training's run, which is made anew from its files if gone."""
    run = _find_run(training_fingerprint(params))
    if run is None:
        with tracked_training(params) as log_epoch:
            for epoch in _read_history():
                log_epoch(epoch)
        run = _find_run(training_fingerprint(params))
        assert run is not None
    figures = json.loads((EVALUATE_REPORTS / "metrics.json").read_text(encoding="utf-8"))
    with mlflow.start_run(run_id=run.info.run_id):
        mlflow.log_params(_flat("evaluate", params.evaluate.model_dump()))
        mlflow.log_metrics(
            {
                name.replace("test_", "test/", 1): value
                for name, value in figures.items()
                if isinstance(value, int | float)
            }
        )
        mlflow.log_artifacts(str(EVALUATE_REPORTS), "evaluate")


@contextmanager
def _new_run(params: Params) -> Iterator[None]:
    fingerprint = training_fingerprint(params)
    name = os.environ.get("DVC_EXP_NAME") or f"cnn-{fingerprint[:7]}"
    mlflow.start_run(
        experiment_id=experiment(), run_name=name, tags={FINGERPRINT: fingerprint, **_tags()}
    )
    status = "FAILED"
    try:
        mlflow.log_params(_flat("train", params.train.model_dump()))
        source = LocalArtifactDatasetSource(str(DATA))
        dataset = MetaDataset(source, name="mnist", digest=data_digest())  # type: ignore[abstract]
        mlflow.log_input(dataset, "training")
        yield
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        mlflow.end_run(status)


def _log_files() -> None:
    """Add what the training left in the workspace: reports, device, model."""
    figures = json.loads((TRAIN_REPORTS / "metrics.json").read_text(encoding="utf-8"))
    mlflow.set_tag("device", figures["device"])
    mlflow.log_metric("parameters", figures["parameters"])
    mlflow.log_artifacts(str(TRAIN_REPORTS), "train")
    _log_model()


def _log_model() -> None:
    """Add the network as `cnn`: torch.export's format, no pickle, any batch size."""
    network = load_network(MODEL, torch.device("cpu"))
    # Of two images, not one: torch.export takes a batch of one for the only size there is.
    example = np.zeros((2, 1, 28, 28), dtype=np.float32)
    with torch.no_grad():
        logits = network(torch.from_numpy(example)).numpy()
    mlflow.pytorch.log_model(
        network.to(memory_format=torch.contiguous_format),
        name="cnn",
        input_example=example,
        signature=infer_signature(example, logits),
        serialization_format="pt2",
        pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "numpy", "torch")],
    )


def _find_run(fingerprint: str) -> Run | None:
    found = _runs(experiment(), fingerprint)
    return found[0] if found else None


def _delete_earlier_runs() -> None:
    current = mlflow.active_run()
    assert current is not None
    for run in _runs(current.info.experiment_id, current.data.tags[FINGERPRINT]):
        if run.info.run_id != current.info.run_id:
            mlflow.delete_run(run.info.run_id)


def _runs(experiment_id: str, fingerprint: str) -> list[Run]:
    """Return the runs of a fingerprint, the latest first."""
    found: list[Run] = mlflow.search_runs(
        [experiment_id],
        filter_string=f"tags.`{FINGERPRINT}` = '{fingerprint}'",
        order_by=["attributes.start_time DESC"],
        output_format="list",
    )
    return found


def _read_history() -> Iterator[Epoch]:
    with (TRAIN_REPORTS / "history.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            values = {name: float(value) if value else None for name, value in row.items()}
            yield Epoch(**values | {"epoch": int(row["epoch"])})  # type: ignore[arg-type]


def _flat(section: str, values: dict[str, object]) -> dict[str, object]:
    """Name parameters as params.yaml does: train.learning_rate."""
    return {f"{section}.{name}": value for name, value in values.items()}


def _tags() -> dict[str, str]:
    tags = {f"version.{name}": version(name) for name in VERSIONS}
    tags["version.python"] = platform.python_version()
    try:
        repository = git.Repo(search_parent_directories=True)
        tags["mlflow.source.git.commit"] = repository.head.commit.hexsha
    except (git.InvalidGitRepositoryError, ValueError):
        pass  # a copy without its history: there is no commit to name
    return tags
