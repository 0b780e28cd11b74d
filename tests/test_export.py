import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from workspace import inside, make_workspace, train_and_evaluate

from mnist12k.cli import main
from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.network import to_unit_range
from mnist12k.cnn.onnx_file import check_onnx, export_onnx
from mnist12k.digits.dataset import load_test_digits
from mnist12k.errors import UserError
from mnist12k.params import load_params
from mnist12k.report.model_card import write_model_card

ONNX, CARD = Path("models/cnn.onnx"), Path("reports/model_card.md")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, idx_folder: Path) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("workspace")
    make_workspace(folder, idx_folder)
    with inside(folder):
        train_and_evaluate()
        yield folder


@pytest.mark.usefixtures("workspace")
def test_the_card_tells_the_figures_in_the_reports() -> None:
    write_model_card(load_params())
    card = CARD.read_text(encoding="utf-8")
    figures = json.loads(Path("reports/evaluate/metrics.json").read_text(encoding="utf-8"))
    unchanged = f"{figures['test_accuracy']:.2%}"
    interval = f"{figures['test_accuracy_low']:.2%} to {figures['test_accuracy_high']:.2%}"
    assert f"| accuracy, test images | {unchanged} | {interval} |" in card
    assert f"| none | {unchanged} | {interval} |" in card
    assert "12,442 parameters" in card
    assert "**What is not a digit gets a digit all the same.**" in card
    assert max(map(len, card.splitlines())) <= 130


@pytest.mark.usefixtures("workspace")
def test_a_card_of_another_model_than_the_evaluated_is_refused() -> None:
    metrics = Path("reports/evaluate/metrics.json")
    content = metrics.read_text(encoding="utf-8")
    figures = json.loads(content) | {"model_md5": "0" * 32}
    metrics.write_text(json.dumps(figures), encoding="utf-8")
    try:
        with pytest.raises(UserError, match="is of another model than"):
            write_model_card(load_params())
    finally:
        metrics.write_text(content, encoding="utf-8")


def test_onnx_computes_what_pytorch_computes_for_any_number_of_images(workspace: Path) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    assert main(["export"]) == 0
    images = to_unit_range(load_test_digits(workspace / "data/mnist").images)
    session = runtime.InferenceSession(str(ONNX))
    network = load_network(Path("models/cnn.pt"), torch.device("cpu"))
    for count in (1, 3, 64):
        (logits,) = session.run(None, {"images": images[:count].numpy()})
        with torch.no_grad():
            expected = network(images[:count]).numpy()
        assert logits.shape == (count, 10)
        assert np.abs(logits - expected).max() < 1e-4
    told = {entry.key: entry.value for entry in onnx.load(str(ONNX)).metadata_props}
    assert "20x20" in told["preprocessing"]
    assert set(told) == {"description", "input", "preprocessing", "output"}
    assert CARD.is_file()


def test_an_onnx_file_names_no_place_of_the_machine_that_made_it(workspace: Path) -> None:
    pytest.importorskip("onnxscript")
    network = load_network(Path("models/cnn.pt"), torch.device("cpu"))
    export_onnx(network, workspace / "plain.onnx")
    content = (workspace / "plain.onnx").read_bytes()
    assert b".py" not in content
    assert str(Path.home()).encode() not in content


def test_an_onnx_file_of_another_network_is_refused(workspace: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network = load_network(Path("models/cnn.pt"), torch.device("cpu"))
    export_onnx(network, workspace / "one.onnx")
    with torch.no_grad():
        network.head.weight += 0.1
    with pytest.raises(UserError, match="differs from PyTorch by"):
        check_onnx(workspace / "one.onnx", network, load_test_digits(Path("data/mnist")).images)


@pytest.mark.usefixtures("workspace")
def test_without_the_extra_it_is_one_line_and_no_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ONNX.unlink(missing_ok=True)
    imported = importlib.import_module

    def absent(name: str, *rest: Any) -> Any:
        if name.startswith("onnx"):
            raise ModuleNotFoundError(name)
        return imported(name, *rest)

    monkeypatch.setattr(importlib, "import_module", absent)
    assert main(["export"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("mnist12k: error: ONNX needs the package onnx: `pip install")
    assert len(told.splitlines()) == 1
    assert not ONNX.exists()
