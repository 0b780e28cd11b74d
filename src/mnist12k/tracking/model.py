"""The network as MLflow keeps it: torch.export's format, nothing to unpickle, any batch size."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
import torch
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.network import to_unit_range
from mnist12k.digits.dataset import load_training_digits
from mnist12k.errors import UserError
from mnist12k.fingerprint import DATA
from mnist12k.tracking import images_by_name

MODEL = Path("models/cnn.pt")
NAME = "cnn"
BATCHES = (1, 2, 7, 1000)
IMAGES = 1000
TOLERANCE = 1e-4  # of a logit; the two forward passes differ in the order of their sums


def log_model(run_id: str) -> str:
    """Add models/cnn.pt to a run, under the name `cnn`; return the logged model's address.

    Raises UserError if the model, loaded back, is not the one in the file.
    """
    network = load_network(MODEL, torch.device("cpu")).to(memory_format=torch.contiguous_format)
    # Of two images, not one: torch.export takes a batch of one for the only size there is.
    example = np.zeros((2, 1, 28, 28), dtype=np.float32)
    with mlflow.start_run(run_id=run_id):
        logged = Model.log(
            artifact_path=None,
            name=NAME,
            flavor=images_by_name,
            pytorch_model=network,
            input_example=example,
            signature=signature(),
            pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "numpy", "torch")],
        )
    check_model(str(logged.model_uri))
    return str(logged.model_uri)


def signature() -> ModelSignature:
    """Return what the model takes and gives: any number of images, named so, and their logits."""
    single = np.dtype(np.float32)
    return ModelSignature(
        inputs=Schema([TensorSpec(single, (-1, 1, 28, 28), images_by_name.INPUT)]),
        outputs=Schema([TensorSpec(single, (-1, 10))]),
    )


def check_model(address: str) -> None:
    """Raise UserError unless a logged model gives the logits of models/cnn.pt at every size."""
    images = to_unit_range(load_training_digits(DATA).images[:IMAGES])
    network = load_network(MODEL, torch.device("cpu"))
    model = mlflow.pyfunc.load_model(address)
    with one_thread(), torch.no_grad():
        expected = network(images).numpy()
        for size in BATCHES:
            found = np.concatenate([model.predict(part.numpy()) for part in images.split(size)])
            worst = float(np.abs(found - expected).max())
            if not worst <= TOLERANCE:
                raise UserError(
                    f"the model logged at {address} differs from {MODEL} by {worst:.2g} in a logit "
                    f"at batch size {size}; at most {TOLERANCE:g} is allowed, so it is not "
                    "registered"
                )


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep PyTorch to one thread: with an image at a time, others cost more than they do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
