"""The champion: served by MLflow's own command, and loaded by this project."""

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from mlflow.pyfunc import PyFuncModel
from networks import REFERENCE
from project import copy_workspace
from servers import free_port, started
from workspace import inside

from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.network import to_unit_range
from mnist12k.digits.dataset import load_test_digits
from mnist12k.errors import UserError
from mnist12k.outputs import read_evaluate_result, read_predictions
from mnist12k.tracking.registry import load_registered
from mnist12k.tracking.store import connect

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Windows has no process group to kill"),
    # torch.export's reader warns of a read-only buffer, but does not write to it.
    pytest.mark.filterwarnings("ignore:The given buffer is not writable:UserWarning"),
]

CHAMPION = "models:/mnist12k-cnn@champion"
COUNT = 100


@pytest.fixture(scope="module")
def published(published_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a published training, whose model is champion."""
    folder = tmp_path_factory.mktemp("served") / "workspace"
    copy_workspace(published_template, folder)
    return folder


@pytest.fixture(scope="module")
def images(published: Path) -> np.ndarray:
    digits = load_test_digits(published / "data/mnist", REFERENCE)
    batch: np.ndarray = to_unit_range(digits.images[:COUNT]).numpy()
    return batch


@pytest.fixture(scope="module")
def server(published: Path) -> Iterator[str]:
    port = str(free_port())
    with started(
        *("mlflow", "models", "serve", "-m", CHAMPION, "--env-manager", "local", "-p", port),
        folder=published,
        MLFLOW_TRACKING_URI=f"sqlite:///{published / 'mlflow.db'}",
        MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false",
    ) as process:
        process.wait_until_up(f"http://127.0.0.1:{port}/ping")
        yield f"http://127.0.0.1:{port}"


def load_champion(published: Path) -> PyFuncModel:
    with inside(published):
        connect()
        model: PyFuncModel = mlflow.pyfunc.load_model(CHAMPION)
    return model


def post(server: str, inputs: object) -> np.ndarray:
    request = urllib.request.Request(  # noqa: S310 - http
        f"{server}/invocations",
        json.dumps({"inputs": inputs}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - http
        content: dict[str, Any] = json.load(response)
    return np.array(content["predictions"], dtype=np.float32)


def assert_logits(logits: np.ndarray, published: Path, images: np.ndarray) -> None:
    network = load_network(published / "models/cnn.pt", torch.device("cpu"))
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_the_served_champion_predicts_as_evaluate_did(
    server: str, published: Path, images: np.ndarray
) -> None:
    logits = post(server, {"images": images.tolist()})
    with inside(published):
        predictions = read_predictions(read_evaluate_result(), 10)
    assert logits.argmax(axis=1).tolist() == predictions["prediction"][:COUNT].tolist()
    assert_logits(logits, published, images)


def test_one_image_is_predicted_with_or_without_the_inputs_name(
    server: str, images: np.ndarray
) -> None:
    named = post(server, {"images": images[:1].tolist()})
    assert named.shape == (1, 10)
    np.testing.assert_array_equal(post(server, images[:1].tolist()), named)


def test_the_signature_names_the_images_and_allows_any_number(published: Path) -> None:
    signature = load_champion(published).metadata.signature
    (images,) = signature.inputs.inputs
    assert (images.name, images.shape, images.type) == ("images", (-1, 1, 28, 28), np.float32)
    (logits,) = signature.outputs.inputs
    assert (logits.shape, logits.type) == ((-1, 10), np.float32)


def test_the_champion_accepts_an_array_with_or_without_a_name(
    published: Path, images: np.ndarray
) -> None:
    champion = load_champion(published)
    np.testing.assert_array_equal(champion.predict(images), champion.predict({"images": images}))


def test_the_champion_loads_on_a_machine_with_a_gpu(
    published: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert len(load_champion(published).predict(images)) == COUNT


def test_load_registered_predicts_as_the_file_does(published: Path, images: np.ndarray) -> None:
    with inside(published):
        logits = load_registered(CHAMPION).logits(images)
    assert_logits(logits, published, images)


@pytest.mark.parametrize("uri", ["models:/mnist12k-cnn@nobody", "models:/", "models:/other/1"])
def test_a_model_that_does_not_exist_is_one_line(published: Path, uri: str) -> None:
    with inside(published), pytest.raises(UserError, match=r"^tracking failed.*$"):
        load_registered(uri)


def test_without_a_store_the_error_suggests_a_training(tmp_path: Path) -> None:
    with inside(tmp_path), pytest.raises(UserError, match="no model is registered"):
        load_registered(CHAMPION)
    assert not (tmp_path / "mlflow.db").exists()
