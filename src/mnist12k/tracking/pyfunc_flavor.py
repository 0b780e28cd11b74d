"""An MLflow flavor like mlflow.pytorch, but with a named input, and always on the CPU.

In MLflow 3.17, mlflow.pytorch cannot predict from a named input, and on a machine with a GPU it
rejects a model exported on a CPU. MLflow copies this file into each model and imports it wherever
the model is loaded, so it imports nothing of this project.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.models import Model

INPUT = "images"


def save_model(path: str, mlflow_model: Model, **options: Any) -> None:
    """Save as mlflow.pytorch does, with this file as the pyfunc loader."""
    mlflow.pytorch.save_model(
        path=path,
        mlflow_model=mlflow_model,
        serialization_format="pt2",
        code_paths=[__file__],
        **options,
    )
    mlflow_model.flavors["python_function"]["loader_module"] = Path(__file__).stem
    mlflow_model.save(str(Path(path) / "MLmodel"))


def _load_pyfunc(data: str, _model_config: dict[str, Any] | None = None) -> "Predictor":
    """Load the model from its subfolder `data`; MLflow calls this function by its name."""
    return Predictor(mlflow.pytorch.load_model(str(Path(data).parent), device="cpu"))


class Predictor:
    """The interface that pyfunc calls."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    def predict(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Return logits of shape (n, classes) for float32 images, (n, channels, side, side).

        MLflow passes an array without a name under the signature's only one.
        """
        with torch.no_grad():
            logits: np.ndarray = self.network(torch.from_numpy(inputs[INPUT])).numpy()
        return logits
