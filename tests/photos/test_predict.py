import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_digits import side_by_side, twenty_pictures
from networks import reference
from PIL import Image
from project import ROOT

from mnist12k.cli import main
from mnist12k.cnn.model_file import save_network
from mnist12k.photos import PREPARATION, sources


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
        *("empty.png", "broken.jpg", "huge.png", "no.png", "pictures/notes.txt", "mnist12k")
    ]
    assert "pictures/notes.txt: left out: no picture by its name\n" in output.err
    assert output.err.endswith("mnist12k: error: 5 of 25 could not be read\n")
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


def test_low_probabilities_are_marked_as_unsure(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "pictures/7-drawn-dark.png"]) == 0  # by an untrained network
    assert capsys.readouterr().out.endswith("%), unsure\n")
    network = reference()
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.mul_(1e4)
    save_network(network, project / "models/cnn.pt")
    assert main(["predict", "pictures/7-drawn-dark.png"]) == 0
    assert capsys.readouterr().out.endswith("(100.0%)\n")


def save_line(digits: list[int], file: str, gap: int = 40) -> None:
    ink = side_by_side(digits, np.random.default_rng(1), gap)
    Image.fromarray(np.rint(255 * (1 - ink)).astype(np.uint8)).save(file)


@pytest.mark.usefixtures("project")
def test_several_digits_get_a_line_and_no_digit(capsys: pytest.CaptureFixture[str]) -> None:
    save_line([4, 2], "two.png")
    assert main(["predict", "two.png"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("two.png: several digits; crop to one, or use --many\n")


def test_many_prints_a_line_per_digit_with_its_box(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_line([4, 1, 7], "three.png")
    before = (project / "three.png").read_bytes()
    assert main(["predict", "--many", "--boxes", "boxes.png", "three.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(["predict", "--many", "--json", "three.png"]) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == len(results) == 3
    for line, result in zip(lines, results, strict=True):
        left, top, right, bottom = result["box"]
        assert line.startswith(f"three.png: {result['digit']} (")
        assert line.endswith(f", row 1, {right - left}x{bottom - top} at {left},{top}")
        assert result["probability"] == max(result["probabilities"])
    with Image.open("boxes.png") as picture, Image.open("three.png") as original:
        assert picture.size == original.size
        assert picture.getpixel(tuple(results[1]["box"][:2])) == (255, 0, 0)
    assert (project / "three.png").read_bytes() == before


@pytest.mark.usefixtures("project")
def test_digits_that_touch_each_other_are_said_to_be_touching(
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_line([3, 8], "touching.png", gap=0)
    assert main(["predict", "--many", "touching.png"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("touching.png: touching digits, row 1, ")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--boxes", "boxes.png", "two.png"], "--boxes needs --many, and one picture"),
        (["--many", "--boxes", "boxes.png", "two.png", "-"], "--boxes needs --many, and one"),
        (["--many", "--boxes", "boxes.txt", "two.png"], "its name should end in .png or .jpg"),
        (["--many", "--boxes", "./two.png", "two.png"], "it would replace the picture itself"),
    ],
)
@pytest.mark.usefixtures("project")
def test_boxes_that_cannot_be_saved_are_refused_before_anything_is_read(
    options: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_line([4, 2], "two.png")
    assert main(["predict", *options]) == 2
    output = capsys.readouterr()
    assert reason in output.err
    assert len(output.err.splitlines()) == 1
    assert output.out == ""


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither pipes nor devices as files")
def test_whatever_a_folder_holds_is_a_line_each(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project / "odd"
    folder.mkdir()
    os.mkfifo(folder / "pipe.png")
    Image.new("L", (1, 1)).save(folder / "one-pixel.png")
    Image.new("L", (9, 9)).save(folder / "line\nfeed \x1b[31mred.png")
    (folder / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "file.zip").write_bytes(b"")
    long_name = "x" * 5000 + ".png"
    assert main(["predict", "odd", "/dev/zero", long_name]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    *lines, summary = output.err.splitlines()
    reasons = dict(line.rsplit(": ", 1) for line in lines if "photo.heic" not in line)
    assert reasons == {
        "odd/again: left out": "a link to a folder",
        "odd/file.zip: left out": "no picture by its name",
        "odd/line\\nfeed \\x1b[31mred.png": "the picture is empty",
        "odd/one-pixel.png": "the picture is empty",
        "odd/pipe.png": "not a regular file",
        "/dev/zero": "not a regular file",
        f"{long_name}: cannot be read": "File name too long",
    }
    assert len(lines) == 8
    assert summary == "mnist12k: error: 8 of 8 could not be read"


def test_standard_input_that_does_not_end_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (project / "pictures/7-drawn-dark.png").read_bytes()
    monkeypatch.setattr(sources, "LARGEST", len(content) - 1)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert main(["predict", "-"]) == 2
    assert capsys.readouterr().err.startswith("stdin: too large: at most ")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
def test_ten_thousand_pictures_take_less_than_five_minutes_and_show_a_bar(project: Path) -> None:
    pictures = sorted((project / "pictures").iterdir())
    (project / "lots").mkdir()
    count = 200  # a fiftieth
    for number in range(count):
        picture = pictures[number % len(pictures)]
        (project / f"lots/{number:03}{picture.suffix}").hardlink_to(picture)
    termios = pytest.importorskip("termios")
    resource = pytest.importorskip("resource")
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    command = [sys.executable, "-m", "mnist12k", "predict", "lots"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (project / "lines.txt").open("w") as lines:
        process = subprocess.Popen(command, stdout=lines, stderr=slave)
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):  # Linux raises one at the end
        while part := os.read(master, 4096):
            shown += part
    os.close(master)
    assert process.wait() == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = sum(after[:2]) - sum(before[:2])  # of a processor, whatever else runs
    assert seconds < 300 * count / 10_000 + 10  # starting takes most of it
    assert f"/{count} [".encode() in shown
    assert len((project / "lines.txt").read_text("utf-8").splitlines()) == count


def test_files_are_named_from_the_folder_that_the_user_is_in(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "pictures")
    assert main(["predict", "--model", "../models/cnn.pt", "7-drawn-dark.png"]) == 0
    assert capsys.readouterr().out.startswith("7-drawn-dark.png: ")


def test_a_folder_without_pictures_says_so(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "nothing").mkdir()
    assert main(["predict", "nothing"]) == 2
    assert capsys.readouterr().err.startswith("nothing: no picture in this folder\n")


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


def test_help_and_documentation_describe_the_preparation_in_the_same_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["predict", "--help"]) == 0
    for text in (capsys.readouterr().out, (ROOT / "docs/serve.md").read_text("utf-8")):
        assert PREPARATION in " ".join(text.split())
