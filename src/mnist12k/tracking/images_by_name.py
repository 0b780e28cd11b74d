"""An MLflow flavour: PyTorch's, whose input has a name and whose network stays on the CPU.

MLflow 3.17's own cannot predict from a named input, and refuses what was exported on a CPU where
there is a GPU. MLflow copies this file into each model and runs it where the model is loaded, so it
imports nothing of this project.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.models import Model

INPUT = "images"


def save_model(path: str, mlflow_model: Model, **options: Any) -> None:
    """Save as mlflow.pytorch does, with this file as what loads the model for pyfunc."""
    mlflow.pytorch.save_model(
        path=path,
        mlflow_model=mlflow_model,
        serialization_format="pt2",
        code_paths=[__file__],
        **options,
    )
    mlflow_model.flavors["python_function"]["loader_module"] = Path(__file__).stem
    mlflow_model.save(str(Path(path) / "MLmodel"))


def _load_pyfunc(data: str, _model_config: dict[str, Any] | None = None) -> "ByName":
    """Load the network; `data` is a folder of the saved model's. MLflow calls this by its name."""
    return ByName(mlflow.pytorch.load_model(str(Path(data).parent), device="cpu"))


class ByName:
    """The network as pyfunc calls it: MLflow has given an array without a name the only one."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    def predict(self, given: dict[str, np.ndarray]) -> np.ndarray:
        """Return the logits of the images."""
        with torch.no_grad():
            logits: np.ndarray = self.network(torch.from_numpy(given[INPUT])).numpy()
        return logits
