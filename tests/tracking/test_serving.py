"""The champion as MLflow's own command serves it, asked over HTTP."""

import csv
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
from servers import free_port, started
from workspace import inside, make_workspace, train_and_evaluate

from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.network import to_unit_range
from mnist12k.digits.dataset import load_test_digits
from mnist12k.tracking.publish import publish
from mnist12k.tracking.store import connect

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Windows has no process group to kill"),
    # torch.export's archive reader tells of a read-only buffer that it does not write to.
    pytest.mark.filterwarnings("ignore:The given buffer is not writable:UserWarning"),
]

CHAMPION = "models:/mnist12k-cnn@champion"
COUNT = 100


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, idx_folder: Path) -> Path:
    """A workspace with a published training, whose model is champion."""
    folder = tmp_path_factory.mktemp("served")
    make_workspace(folder, idx_folder)
    with inside(folder):
        publish(train_and_evaluate())
    return folder


@pytest.fixture(scope="module")
def images(workspace: Path) -> np.ndarray:
    digits = load_test_digits(workspace / "data/mnist")
    batch: np.ndarray = to_unit_range(digits.images[:COUNT]).numpy()
    return batch


@pytest.fixture(scope="module")
def server(workspace: Path) -> Iterator[str]:
    port = str(free_port())
    with started(
        *("mlflow", "models", "serve", "-m", CHAMPION, "--env-manager", "local", "-p", port),
        folder=workspace,
        MLFLOW_TRACKING_URI=f"sqlite:///{workspace / 'mlflow.db'}",
        MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false",
    ) as process:
        process.wait_until_up(f"http://127.0.0.1:{port}/ping")
        yield f"http://127.0.0.1:{port}"


def load_champion(workspace: Path) -> PyFuncModel:
    with inside(workspace):
        connect()
        model: PyFuncModel = mlflow.pyfunc.load_model(CHAMPION)
    return model


def ask(server: str, inputs: object) -> np.ndarray:
    request = urllib.request.Request(  # noqa: S310 - http
        f"{server}/invocations",
        json.dumps({"inputs": inputs}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - http
        told: dict[str, Any] = json.load(answer)
    return np.array(told["predictions"], dtype=np.float32)


def test_the_served_champion_reads_a_hundred_test_images_as_evaluate_did(
    server: str, workspace: Path, images: np.ndarray
) -> None:
    logits = ask(server, {"images": images.tolist()})
    with (workspace / "reports/evaluate/predictions.csv").open(newline="") as file:
        rows = [row for _, row in zip(range(COUNT), csv.DictReader(file), strict=False)]
    assert logits.argmax(axis=1).tolist() == [int(row["prediction"]) for row in rows]
    network = load_network(workspace / "models/cnn.pt", torch.device("cpu"))
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_a_single_image_is_answered_with_or_without_the_inputs_name(
    server: str, images: np.ndarray
) -> None:
    named = ask(server, {"images": images[:1].tolist()})
    assert named.shape == (1, 10)
    np.testing.assert_array_equal(ask(server, images[:1].tolist()), named)


def test_the_signature_takes_any_number_of_images_by_their_name(workspace: Path) -> None:
    signature = load_champion(workspace).metadata.signature
    (taken,) = signature.inputs.inputs
    assert (taken.name, taken.shape, taken.type) == ("images", (-1, 1, 28, 28), np.float32)
    (given,) = signature.outputs.inputs
    assert (given.shape, given.type) == ((-1, 10), np.float32)


def test_the_champion_takes_an_array_or_the_array_by_its_name(
    workspace: Path, images: np.ndarray
) -> None:
    champion = load_champion(workspace)
    np.testing.assert_array_equal(champion.predict(images), champion.predict({"images": images}))


def test_the_champion_loads_where_there_is_a_gpu(
    workspace: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert len(load_champion(workspace).predict(images)) == COUNT
