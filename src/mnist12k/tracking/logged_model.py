"""A logged or registered model as anyone can use it: its files, and whether it can be loaded.

Imports no PyTorch until a model is loaded, which takes seconds: to publish what is complete needs
only the files.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel

from mnist12k.fingerprint import file_md5, folder_md5
from mnist12k.paths import MODEL
from mnist12k.tracking.store import reason

# Tags of a logged model: the digest of its files, and the MD5 of the models/cnn.pt that they agree
# with.
FILES, COMPARED = "mnist12k.files", "mnist12k.compared"
CLASSES = "classes"  # in its metadata


def note_comparison(client: MlflowClient, uri: str, digest: str) -> None:
    """Note in a logged model's tags that its files, of this digest, agree with models/cnn.pt."""
    client.set_logged_model_tags(model_id(uri), {FILES: digest, COMPARED: file_md5(MODEL)})


def is_as_compared(client: MlflowClient, uri: str) -> bool | None:
    """Return whether the files are those that agreed with models/cnn.pt; None without a note."""
    tags = client.get_logged_model(model_id(uri)).tags
    try:
        with downloaded(uri) as folder:
            digest = folder_md5(folder)
    except (MlflowException, OSError):
        return False
    if tags.get(FILES, digest) != digest:
        return False
    return True if tags.get(COMPARED) == file_md5(MODEL) else None


@contextmanager
def downloaded(uri: str) -> Iterator[Path]:
    """Copy a model's files to a temporary folder; yield the folder."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(download_artifacts(artifact_uri=uri, dst_path=name))


def model_id(uri: str) -> str:
    """Return the id in a logged model's URI, models:/<id>."""
    return uri.removeprefix("models:/")


def model_fault(uri: str) -> str:
    """Return why a model cannot be used; empty if it can."""
    try:
        model = load(uri)
        logits = model.predict(np.zeros((2, *image_shape(model)), dtype=np.float32))
    except Exception as error:  # whatever a damaged file leads to
        return reason(error)
    return "" if np.isfinite(np.asarray(logits)).all() else "its logits are not finite"


def load(uri: str) -> PyFuncModel:
    """Load a model from its URI or folder."""
    with tempfile.TemporaryDirectory() as copy:  # MLflow writes beside the files it loads
        # The warnings tell of other versions of its requirements, and take seconds to find.
        model: PyFuncModel = mlflow.pyfunc.load_model(uri, suppress_warnings=True, dst_path=copy)
    return model


def image_shape(model: PyFuncModel) -> tuple[int, ...]:
    """Return the shape of one image that a loaded model takes: (channels, side, side)."""
    return tuple(model.metadata.signature.inputs.inputs[0].shape[1:])
