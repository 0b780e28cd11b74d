"""A network by its address: a file, or a version in MLflow's registry."""

import contextlib
from pathlib import Path

import torch

from mnist12k.cnn.model_file import load_network
from mnist12k.paths import MODEL, project_root
from mnist12k.photos.predict import Model, as_model


def load_model(address: str | None) -> Model:
    """Return the network in a file, or the registered one at a `models:/` address, on the CPU.

    None stands for the project's own. Raises UserError if it cannot be loaded.
    """
    if address is not None and address.startswith("models:/"):
        from mnist12k.tracking.registry import load_registered  # with MLflow, for seconds

        with contextlib.chdir(project_root()):
            return load_registered(address)
    path = project_root() / MODEL if address is None else Path(address)
    return as_model(load_network(path, torch.device("cpu")))
