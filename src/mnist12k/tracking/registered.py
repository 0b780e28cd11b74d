"""A registered model, to predict with."""

from collections.abc import Callable

import mlflow
import numpy as np
from numpy.typing import NDArray

from mnist12k.errors import UserError
from mnist12k.stores import store_root
from mnist12k.tracking.attempts import tracking_errors_in_a_line
from mnist12k.tracking.store import connect, is_local


def load_registered(address: str) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return the model at a `models:/` address: images (n, 1, 28, 28) in, logits (n, 10) out.

    Raises UserError if there is none, or the store does not answer.
    """
    if is_local() and not (store_root() / "mlflow.db").is_file():
        raise UserError(f"{address}: no model is registered yet; `make repro` registers the first")
    with tracking_errors_in_a_line():
        connect()
        model = mlflow.pyfunc.load_model(address)

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = model.predict(images)
        return logits

    return run
