import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import REFERENCE

from mnist12k.cli import main
from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.network import to_unit_range
from mnist12k.digits.dataset import load_test_digits
from mnist12k.errors import UserError
from mnist12k.export.bundle import export
from mnist12k.export.model_card import write_model_card
from mnist12k.export.onnx_file import check_onnx, export_onnx
from mnist12k.files import write_json
from mnist12k.outputs import EVALUATE_RESULT, read_evaluate_result
from mnist12k.params import load_params
from mnist12k.paths import MODEL_CARD, ONNX_MODEL
from mnist12k.photos import PREPARATION
from mnist12k.photos.confidence import UNSURE


@pytest.mark.usefixtures("workspace")
def test_the_card_has_the_figures_of_the_reports() -> None:
    write_model_card(load_params().train, "MNIST", "cpu")
    card = MODEL_CARD.read_text(encoding="utf-8")
    metrics = read_evaluate_result()
    accuracy = f"{metrics.test_accuracy:.2%}"
    interval = f"{metrics.test_accuracy_low:.2%} to {metrics.test_accuracy_high:.2%}"
    assert f"| test accuracy | {accuracy} | {interval} |" in card
    assert f"| none | {accuracy} | {interval} |" in card
    assert "12,442 parameters" in card
    assert "**Every image gets a class.**" in card
    assert PREPARATION in " ".join(card.split())
    assert f"unsure if its probability is below {UNSURE:.0%}" in card
    assert "images of the hold-out set, prepared as pictures are" in card
    assert max(map(len, card.splitlines())) <= 140


@pytest.mark.usefixtures("workspace")
def test_a_card_of_another_model_than_the_evaluated_one_is_refused() -> None:
    write_json(EVALUATE_RESULT, read_evaluate_result().model_dump() | {"model_md5": "0" * 32})
    with pytest.raises(UserError, match="is of another model"):
        write_model_card(load_params().train, "MNIST", "cpu")


def test_onnx_computes_what_pytorch_computes_for_any_number_of_images(workspace: Path) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    assert main(["export"]) == 0
    images = to_unit_range(load_test_digits(workspace / "data/mnist", REFERENCE).images)
    session = runtime.InferenceSession(str(ONNX_MODEL))
    network = load_network(Path("models/cnn.pt"), torch.device("cpu"))
    for count in (1, 3, 64):
        (logits,) = session.run(None, {"images": images[:count].numpy()})
        with torch.no_grad():
            expected = network(images[:count]).numpy()
        assert logits.shape == (count, 10)
        assert np.abs(logits - expected).max() < 1e-4
    properties = {entry.key: entry.value for entry in onnx.load(str(ONNX_MODEL)).metadata_props}
    assert properties["preprocessing"].startswith(PREPARATION)
    assert "A 12,442-parameter network" in properties["description"]
    assert set(properties) == {"description", "input", "preprocessing", "output"}
    assert MODEL_CARD.is_file()


def test_an_onnx_file_has_no_paths_of_the_machine_that_wrote_it(workspace: Path) -> None:
    pytest.importorskip("onnxscript")
    network = load_network(Path("models/cnn.pt"), torch.device("cpu"))
    images = load_test_digits(Path("data/mnist"), REFERENCE).images
    export_onnx(network, workspace / "plain.onnx", images, "MNIST")
    content = (workspace / "plain.onnx").read_bytes()
    assert b".py" not in content
    assert str(Path.home()).encode() not in content


def test_an_onnx_file_of_another_network_is_refused(workspace: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network = load_network(Path("models/cnn.pt"), torch.device("cpu"))
    images = load_test_digits(Path("data/mnist"), REFERENCE).images
    export_onnx(network, workspace / "one.onnx", images, "MNIST")
    with torch.no_grad():
        next(network.head.parameters()).add_(0.1)
    with pytest.raises(UserError, match="differs from PyTorch at batch size 1: by"):
        check_onnx(workspace / "one.onnx", network, images)


@pytest.mark.usefixtures("workspace")
def test_an_export_that_fails_replaces_neither_the_onnx_file_nor_the_model_card() -> None:
    params = load_params()
    for path in (ONNX_MODEL, MODEL_CARD):
        path.parent.mkdir(exist_ok=True)
        path.write_text("old")
    metrics = Path("reports/train/result.json")
    metrics.write_bytes(metrics.read_bytes()[:-3])
    with pytest.raises(UserError, match=r"^reports/train/result.json is damaged"):
        export(params.train, "MNIST", "cpu")
    assert [path.read_text() for path in (ONNX_MODEL, MODEL_CARD)] == ["old", "old"]


@pytest.mark.usefixtures("workspace")
def test_without_the_extra_it_is_one_line_and_no_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ONNX_MODEL.unlink(missing_ok=True)
    imported = importlib.import_module

    def absent(name: str, *rest: Any) -> Any:
        if name.startswith("onnx"):
            raise ModuleNotFoundError(name)
        return imported(name, *rest)

    monkeypatch.setattr(importlib, "import_module", absent)
    assert main(["export"]) == 2
    output = capsys.readouterr().err
    assert output.startswith("mnist12k: error: ONNX needs the package onnx: `pip install")
    assert len(output.splitlines()) == 1
    assert not ONNX_MODEL.exists()
