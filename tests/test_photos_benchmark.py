"""benchmarks/photos.py counts what each preparation reads."""

import importlib
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from drawn_digits import twenty_pictures
from networks import reference
from project import ROOT

from mnist12k import paths
from mnist12k.cnn.evaluate import predict
from mnist12k.cnn.model_file import save_network
from mnist12k.digits.settings import RAW
from mnist12k.photos.prepare import prepare
from mnist12k.photos.read import read_grey


def test_it_counts_as_right_what_predict_reads_as_labelled(
    tmp_path: Path,
    idx_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("cv2", reason="the benchmark's own extra is not installed")
    network = reference()
    save_network(network, tmp_path / "cnn.pt")
    names = sorted(twenty_pictures(tmp_path))
    images = np.stack([prepare(read_grey(tmp_path / name)) for name in names])
    labels = predict(network, torch.from_numpy(images)).argmax(dim=1).tolist()
    labels[:3] = [(label + 1) % 10 for label in labels[:3]]
    kinds = [name.split("-")[1] for name in names]
    table = pd.DataFrame({"file": names, "label": labels, "kind": kinds})
    table.to_csv(tmp_path / "labels.csv", index=False)

    (tmp_path / "data" / RAW).parent.mkdir(parents=True)
    (tmp_path / "data" / RAW).symlink_to(idx_folder, target_is_directory=True)
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setattr(paths, "MODEL", tmp_path / "cnn.pt")
    monkeypatch.setattr(sys, "argv", ["photos.py", str(tmp_path)])
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.delitem(sys.modules, "common", raising=False)
    monkeypatch.setattr(importlib.import_module("common"), "VALIDATION_SIZE", 100)
    runpy.run_path("benchmarks/photos.py", run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    rows = {cells[0]: cells[1:] for cells in (line.strip("| ").split(" | ") for line in lines)}
    assert rows["kind"] == ["pictures", "ours", "naive", "OpenCV"]
    assert rows["drawn"][:2] == ["10", str(10 - kinds[:3].count("drawn"))]
    assert rows["all"][:2] == ["20", "17"]
    assert re.fullmatch(r"MNIST's .* set: \d+ of 100 right as they are, \d+ prepared.*", lines[-1])


def test_without_opencv_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SystemExit, match=r"^the OpenCV recipe needs OpenCV: pip install '.\[ben"):
        runpy.run_path("benchmarks/photos.py", run_name="__main__")
