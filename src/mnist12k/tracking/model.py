"""The network as MLflow keeps it: torch.export's format, nothing to unpickle, any batch size."""

from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
import torch
from mlflow.models import infer_signature

from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.network import to_unit_range
from mnist12k.digits.dataset import load_training_digits
from mnist12k.errors import UserError
from mnist12k.fingerprint import DATA

MODEL = Path("models/cnn.pt")
NAME = "cnn"
BATCHES = (1, 2, 7, 1000)
IMAGES = 1000
TRIALS = 20  # predictions at a batch size: what its smallness may break shows at the first
TOLERANCE = 1e-4  # of a logit; the two forward passes differ in the order of their sums


def log_model(run_id: str) -> str:
    """Add models/cnn.pt to a run, under the name `cnn`; return the logged model's address.

    Raises UserError if the model, loaded back, is not the one in the file.
    """
    network = load_network(MODEL, torch.device("cpu")).to(memory_format=torch.contiguous_format)
    # Of two images, not one: torch.export takes a batch of one for the only size there is.
    example = np.zeros((2, 1, 28, 28), dtype=np.float32)
    with torch.no_grad():
        logits = network(torch.from_numpy(example)).numpy()
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.pytorch.log_model(
            network,
            name=NAME,
            input_example=example,
            signature=infer_signature(example, logits),
            serialization_format="pt2",
            pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "numpy", "torch")],
        )
    check_model(str(logged.model_uri))
    return str(logged.model_uri)


def check_model(address: str) -> None:
    """Raise UserError unless a logged model gives the logits of models/cnn.pt at every size."""
    tensor = to_unit_range(load_training_digits(DATA).images[:IMAGES])
    network = load_network(MODEL, torch.device("cpu"))
    with torch.no_grad():
        expected = network(tensor).numpy()
    images = tensor.numpy()
    model = mlflow.pyfunc.load_model(address)
    for size in BATCHES:
        count = min(IMAGES, TRIALS * size)
        found = np.concatenate(
            [model.predict(images[i : min(i + size, count)]) for i in range(0, count, size)]
        )
        worst = float(np.abs(found - expected[:count]).max())
        if not worst <= TOLERANCE:
            raise UserError(
                f"the model logged at {address} differs from {MODEL} by {worst:.2g} in a logit "
                f"at batch size {size}; at most {TOLERANCE:g} is allowed, so it is not registered"
            )
