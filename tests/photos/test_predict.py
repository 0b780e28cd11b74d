import io
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from drawn_digits import twenty_pictures
from networks import reference
from PIL import Image
from project import ROOT

from mnist12k.cli import main
from mnist12k.cnn.model_file import save_network


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an untrained network, twenty pictures, and three files that are none."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    torch.manual_seed(0)
    save_network(reference(), tmp_path / "models/cnn.pt")
    (tmp_path / "pictures").mkdir()
    twenty_pictures(tmp_path / "pictures")
    Image.new("L", (50, 50), 200).save(tmp_path / "empty.png")
    Image.new("1", (20_000, 10_000)).save(tmp_path / "huge.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_cannot_be_read_is_a_line_each_and_the_rest_is_done(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "pictures/notes.txt").write_text("no picture", "utf-8")
    assert main(["predict", "empty.png", "broken.jpg", "huge.png", "no.png", "pictures"]) == 2
    output = capsys.readouterr()
    assert [line.split(": ")[0] for line in output.err.splitlines()] == [
        *("empty.png", "broken.jpg", "huge.png", "no.png", "mnist12k")
    ]
    assert output.err.endswith("mnist12k: error: 4 of 24 could not be read\n")
    assert len(output.out.splitlines()) == 20
    assert output.out.startswith(str(Path("pictures/0-drawn-light.jpg")) + ": ")


def test_json_is_an_object_a_line_failures_among_them(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "--json", "pictures/7-drawn-dark.png", "empty.png"]) == 2
    read, failed = map(json.loads, capsys.readouterr().out.splitlines())
    assert read["file"] == "pictures/7-drawn-dark.png"
    assert read["probability"] == max(read["probabilities"])
    assert read["probabilities"][read["digit"]] == read["probability"]
    assert sum(read["probabilities"]) == pytest.approx(1, abs=1e-6)
    assert failed == {"file": "empty.png", "error": "the picture is empty"}
    assert not (project / "mlflow.db").exists()


def test_a_picture_may_come_on_standard_input(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (project / "pictures/7-drawn-dark.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert main(["predict", "-", "pictures/7-drawn-dark.png"]) == 0
    piped, named = capsys.readouterr().out.splitlines()
    assert piped.removeprefix("stdin") == named.removeprefix("pictures/7-drawn-dark.png")


def test_files_are_named_from_the_folder_that_the_user_is_in(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "pictures")
    assert main(["predict", "--model", "../models/cnn.pt", "7-drawn-dark.png"]) == 0
    assert capsys.readouterr().out.startswith("7-drawn-dark.png: ")


def test_a_folder_without_pictures_says_so(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(project / "models")]) == 2
    assert "models: no picture in this folder" in capsys.readouterr().err


def test_a_registered_model_that_is_not_there_is_one_line_and_no_store(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "--model", "models:/mnist12k-cnn@champion", "pictures"]) == 2
    output = capsys.readouterr().err
    assert output.startswith(
        "mnist12k: error: models:/mnist12k-cnn@champion: no model is registered"
    )
    assert len(output.splitlines()) == 1
    assert not (project / "mlflow.db").exists()
