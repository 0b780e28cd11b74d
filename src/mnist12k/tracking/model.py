"""The network as an MLflow model: in torch.export's format, without pickle, for any batch size."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow import MlflowClient
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.network import to_unit_range
from mnist12k.digits.dataset import load_training_digits
from mnist12k.errors import UserError
from mnist12k.fingerprint import folder_md5
from mnist12k.paths import DATA, MODEL
from mnist12k.photos import PREPARATION
from mnist12k.tracking import pyfunc_flavor
from mnist12k.tracking.logged_model import CLASSES, downloaded, load, model_id, note_comparison

NAME = "cnn"
BATCH_SIZES = (1, 2, 7, 1000)
BATCHES, IMAGES = 50, 1000  # of each size, at most
# Of the largest logit: float32 sums in another order differ by less than a millionth of it.
TOLERANCE = 4e-6
FLOAT32 = np.dtype(np.float32)
EXAMPLES = 2  # images: torch.export would treat a batch of one as the only size


def log_model(run_id: str) -> str:
    """Log models/cnn.pt to a run under the name `cnn`; return the logged model's URI.

    Raises UserError if the model, loaded back, has other logits than the file.
    """
    # Not within mlflow.start_run, which would set the run's status and end.
    mlflow.set_experiment(experiment_id=MlflowClient().get_run(run_id).info.experiment_id)
    logged = Model.log(None, pyfunc_flavor, name=NAME, run_id=run_id, **_contents())
    uri = str(logged.model_uri)
    note_comparison(MlflowClient(), uri, check_model(uri))
    return uri


def restore_model(client: MlflowClient, run_id: str, uri: str) -> None:
    """Log the files of a logged model again; raise UserError as `log_model` does."""
    logged_id = model_id(uri)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / NAME)
        pyfunc_flavor.save_model(path, Model(run_id=run_id, model_id=logged_id), **_contents())
        client.log_model_artifacts(logged_id, path)
    note_comparison(client, uri, check_model(uri))
    if str(client.get_logged_model(logged_id).status) != "READY":
        client.finalize_logged_model(logged_id, "READY")


def check_model(uri: str) -> str:
    """Return the digest of a logged model's files.

    Raises UserError unless it has the logits of models/cnn.pt at every batch size.
    """
    network = load_network(MODEL, torch.device("cpu"))
    digits = load_training_digits(DATA, network.architecture)
    images = to_unit_range(digits.images[:IMAGES])
    with downloaded(uri) as folder:
        model, digest = load(str(folder)), folder_md5(folder)
    with _one_thread(), torch.no_grad():
        expected = network(images).numpy()
        for size in BATCH_SIZES:
            batches = images[: BATCHES * size].split(size)
            logits = np.concatenate([model.predict(batch.numpy()) for batch in batches])
            deviation = float(np.abs(logits - expected[: len(logits)]).max())
            allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
            if not deviation <= allowed:
                raise UserError(
                    f"the model logged as {uri} deviates from {MODEL} by {deviation:.2g} in a "
                    f"logit at batch size {size} (allowed: {allowed:.2g}); it is not registered"
                )
    return digest


def is_exported(client: MlflowClient, uri: str) -> bool:
    """Return whether a logged model has the logits of models/cnn.pt; if so, note it in its tags."""
    try:
        note_comparison(client, uri, check_model(uri))
    except Exception:  # whatever a damaged file leads to
        return False
    return True


def _contents() -> dict[str, Any]:
    """Return what a model in MLflow is made of."""
    network = load_network(MODEL, torch.device("cpu")).to(memory_format=torch.contiguous_format)
    shape, classes = network.architecture.image_shape, network.architecture.classes
    metadata: dict[str, Any] = {CLASSES: list(classes)}
    if network.architecture.reads_digits:
        metadata["preparation"] = PREPARATION
    images = TensorSpec(FLOAT32, (-1, *shape), pyfunc_flavor.INPUT)
    logits = TensorSpec(FLOAT32, (-1, len(classes)))
    return {
        "pytorch_model": network,
        "input_example": np.zeros((EXAMPLES, *shape), dtype=np.float32),
        "signature": ModelSignature(inputs=Schema([images]), outputs=Schema([logits])),
        "metadata": metadata,
        "pip_requirements": [f"{name}=={version(name)}" for name in ("mlflow", "numpy", "torch")],
    }


@contextmanager
def _one_thread() -> Iterator[None]:
    """Restrict PyTorch to one thread: for single images, more threads are slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
