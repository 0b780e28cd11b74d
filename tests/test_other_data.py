"""Other images than MNIST's run the whole pipeline by changes in params.yaml alone."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import browser
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import write_idx
from networks import REFERENCE
from other_data import SETS, TEST, DataSet, describe, write_data, write_params
from playwright.sync_api import Browser
from project import ROOT, create_project
from workspace import inside, make_workspace, train_and_evaluate

from mnist12k.cli import main
from mnist12k.cnn.evaluate import predict
from mnist12k.cnn.model_file import load_network
from mnist12k.digits.dataset import load_test_digits, load_training_digits, mean_and_deviation
from mnist12k.digits.fetch import file_sha256
from mnist12k.digits.settings import IDX_FILES, RAW
from mnist12k.errors import UserError
from mnist12k.files import read_yaml
from mnist12k.params import load_params
from mnist12k.paths import DATA, EVALUATE_REPORTS, MODEL, PAGE
from mnist12k.stages import report


@pytest.fixture(scope="module", params=SETS, ids=lambda data: data.name)
def workspace_of(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[DataSet, Path]:
    """A data set, and a folder with a network that was trained on it, evaluated."""
    data: DataSet = request.param
    folder = tmp_path_factory.mktemp("other")
    source = write_data(folder / "idx", data)
    workspace = folder / "workspace"
    make_workspace(workspace, source)
    params = read_yaml(workspace / "params.yaml")
    describe(data, source, params)
    write_params(workspace / "params.yaml", params)
    with inside(workspace):
        train_and_evaluate()
    return data, workspace


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as running:
        yield running


@pytest.mark.slow
def test_the_network_knows_its_images_and_their_classes(
    workspace_of: tuple[DataSet, Path],
) -> None:
    data, folder = workspace_of
    with inside(folder):
        network = load_network(MODEL, torch.device("cpu"))
        digits = load_training_digits(DATA, network.architecture)
        table = pd.read_csv(EVALUATE_REPORTS / "classes.csv", keep_default_na=False)
    pixels = digits.images.double() / 255
    architecture = network.architecture
    assert architecture.image_shape == (data.channels, data.side, data.side)
    assert architecture.classes == tuple(data.classes)
    assert architecture.mean == round(pixels.mean().item(), 4)
    assert architecture.deviation == round(pixels.std(correction=0).item(), 4)
    assert digits.labels.unique().tolist() == list(range(len(data.classes)))
    assert table["class"].tolist() == data.classes
    assert table["images"].sum() == TEST


@pytest.mark.slow
def test_the_page_has_its_classes_and_its_network_but_no_drawing_pad(
    workspace_of: tuple[DataSet, Path], chromium: Browser
) -> None:
    data, folder = workspace_of
    with inside(folder):
        report_inputs(folder)
        params = load_params()
        report.run(params.backprop, params.train, params.fetch, params.architectures())
        network = load_network(MODEL, torch.device("cpu"))
        images = load_test_digits(DATA, network.architecture).images[:20]
    page = chromium.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((folder / PAGE).as_uri())
    assert problems == []
    assert page.locator("#pad").count() == 0
    assert page.locator("#bars li span:first-child").all_text_contents() == data.classes
    for part in ("#evaluation", ".holdout"):
        assert page.locator(f"{part} .matrix thead th").all_text_contents() == data.classes
    assert page.locator("#lesson, a[href='#lesson']").count() == 0
    assert data.name in page.title()
    assert "MNIST" not in re.sub(r"(?i)mnist12k", "", page.locator("body").inner_text())
    logits = page.evaluate(
        "images => images.map((pixels) => classify(Uint8Array.from(pixels)).logits)",
        [image.flatten().tolist() for image in images],
    )
    torch.testing.assert_close(torch.tensor(logits), predict(network, images), atol=1e-4, rtol=0)
    page.locator("[data-cell]").first.click()
    page.locator("#cell .card").first.click()
    assert "label" in page.locator("#drawing-note").inner_text()
    assert page.locator("#prediction").inner_text() in data.classes
    shown, painted = page.evaluate(
        """() => {
          const canvas = document.getElementById("network-input");
          const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return [[...pixelsShown], [...image.data]];
        }"""
    )
    levels = np.reshape(painted, (data.side, data.side, 4))
    expected = np.reshape(shown, (data.channels, data.side, data.side)).transpose(1, 2, 0)
    if data.channels == 1:  # the opacity of black
        np.testing.assert_allclose(levels[..., 3:], expected, atol=1)
    else:
        assert (levels[..., :3] == expected).all()
    page.close()


def report_inputs(folder: Path) -> None:
    """Put what the page shows beside the network."""
    for name in ("reports/backprop", "benchmarks"):
        if not (folder / name).exists():
            shutil.copytree(ROOT / name, folder / name)


@pytest.mark.slow
def test_predict_says_that_it_prepares_digits_only(
    workspace_of: tuple[DataSet, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data, folder = workspace_of
    with inside(folder):
        assert main(["predict", "picture.png"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mnist12k: error: pictures are prepared as MNIST's digits are")
    assert f"{data.side}x{data.side}" in line
    assert data.classes[0] in line


@pytest.mark.slow
def test_onnx_and_model_card_describe_these_images(workspace_of: tuple[DataSet, Path]) -> None:
    onnx = pytest.importorskip("onnx")
    data, folder = workspace_of
    with inside(folder):
        assert main(["export"]) == 0
        model = onnx.load("models/cnn.onnx")
        card = Path("reports/model_card.md").read_text(encoding="utf-8")
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert f"(n, {data.channels}, {data.side}, {data.side})" in about["input"]
    assert ", ".join(data.classes) in about["output"]
    assert data.name in about["description"]
    for text in (card, *about.values()):
        assert "MNIST" not in text
        assert "digit" not in text
    assert f"{len(data.classes)} logits" in card
    assert f"It takes {'grey' if data.channels == 1 else 'colour'}\nimages of" in card


@pytest.mark.long
@pytest.mark.slow
def test_dvc_repro_runs_it_to_a_registered_model(tmp_path: Path) -> None:
    data = SETS[-1]
    source = write_data(tmp_path / "idx", data)
    digests = {name: file_sha256(source / name) for name in IDX_FILES}
    project = create_project(tmp_path / "project", source, digests)
    params = read_yaml(project.root / "params.yaml")
    describe(data, source, params)
    write_params(project.root / "params.yaml", params)
    output = project.run("dvc", "repro")
    assert f"{data.name} from folder {source}: 4 files, SHA-256 verified" in output
    project.run("mnist12k", "publish")
    (run,) = project.runs()
    assert run.data.params["train.network"] == "vgg"
    assert run.data.metrics["test/accuracy"] > 1 / 26
    assert "pictures are prepared" in project.run(
        *("mnist12k", "predict", "x.png", "--model", "models:/mnist12k-cnn@champion"), code=2
    )
    assert f"ok    {data.name} in data/mnist: 4 files" in project.run("mnist12k", "doctor")


def test_a_folder_needs_no_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_data(tmp_path / "idx", SETS[0])
    params = read_yaml(ROOT / "params.yaml")
    describe(SETS[0], source, params)
    params["fetch"]["sha256"] = None
    monkeypatch.chdir(tmp_path)
    write_params(Path("params.yaml"), params)
    Path("dvc.yaml").touch()
    assert main(["fetch"]) == 0
    for name in IDX_FILES:
        assert (DATA / RAW / name).read_bytes() == (source / name).read_bytes()


@pytest.mark.parametrize("data", [SETS[1], SETS[3], SETS[4]], ids=lambda data: data.name)
def test_data_of_another_kind_than_in_params_is_one_line(tmp_path: Path, data: DataSet) -> None:
    write_data(tmp_path / RAW, data)
    wrong = "fetch.side = 28" if data.side != 28 else "10 fetch.classes have the labels 0 to 9"
    with pytest.raises(UserError, match=wrong):
        load_training_digits(tmp_path, REFERENCE)


def test_labels_from_one_on_are_told_by_the_training_images(tmp_path: Path) -> None:
    letters = SETS[1]
    write_data(tmp_path / RAW, letters)
    labels = np.full(TEST, 3, dtype=np.uint8)  # tell nothing by themselves
    write_idx(tmp_path / RAW / "t10k-labels-idx1-ubyte", labels)
    kind = REFERENCE.model_copy(update={"classes": tuple(letters.classes)})
    assert load_test_digits(tmp_path, kind).labels.unique().tolist() == [2]


@pytest.mark.parametrize("images", [torch.zeros(3, 2, 2), torch.full((3, 2, 2), 255)])
def test_images_of_one_grey_level_have_no_deviation(images: torch.Tensor) -> None:
    mean, deviation = mean_and_deviation(images.to(torch.uint8))
    assert (mean, deviation) == (images[0, 0, 0].item() / 255, 0)
