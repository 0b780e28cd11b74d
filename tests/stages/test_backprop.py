import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from project import ROOT

from mnist12k.backprop.settings import Backprop
from mnist12k.cli import main
from mnist12k.files import read_yaml
from mnist12k.params import Params, load_params
from mnist12k.paths import BACKPROP_REPORTS
from mnist12k.stages import backprop


def run(params: Params, **changes: Any) -> None:
    """Run the stage with other values in its section."""
    section = params.backprop.model_dump(exclude_unset=True) | changes
    backprop.run(Backprop.model_validate(section))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of the repository's params.yaml."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(load_params(ROOT / "params.yaml"))
    return folder / BACKPROP_REPORTS


def test_the_stage_writes_only_the_folder_named_in_dvc_yaml(reports: Path) -> None:
    (out,) = read_yaml(ROOT / "dvc.yaml")["stages"]["backprop"]["outs"]
    assert list(out) == [str(BACKPROP_REPORTS)]
    assert [path.name for path in reports.parent.iterdir()] == [reports.name]
    assert [path.name for path in reports.parents[1].iterdir()] == ["reports"]
    committed = {path.name for path in (ROOT / BACKPROP_REPORTS).iterdir()}
    assert {path.name for path in reports.iterdir()} == committed


def test_its_metrics_hold_the_deviations_and_the_edges_of_the_hill(reports: Path) -> None:
    metrics = json.loads((reports / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["largest_deviation"]["gradient_autograd"] <= 1e-14
    assert metrics["largest_deviation"]["curve_relative"] <= 1e-12
    assert metrics["hill"]["first_step_edge"] == pytest.approx(67.1, abs=0.01)
    assert metrics["hill"]["fastest_updates"] == 1
    assert len(metrics["hill"]) == 8


def test_every_preset_is_checked_at_every_rate(reports: Path) -> None:
    checked = pd.read_csv(reports / "gradient_check.csv").set_index(["network", "learning_rate"])
    rates = (0.1, 0.2, 0.5, 0.8, 1.0, 2.0)
    assert set(checked.index) == {(name, r) for name in ("reference", "mazur") for r in rates}
    assert (checked["gradient_autograd"] <= 1e-14).all()


def test_losses_have_a_row_per_iteration_and_agree_with_the_steps(reports: Path) -> None:
    losses = pd.read_csv(reports / "losses.csv")
    assert len(losses) == 6 * 101
    curve = losses.loc[losses["learning_rate"] == 0.5, "loss"]
    assert curve.tolist() == pd.read_csv(reports / "steps.csv")["E_total"].tolist()


def test_the_derivation_shows_this_networks_numbers_in_whole_math_blocks(reports: Path) -> None:
    page = (reports / "derivation.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```math\n(.*?)```\n", page, flags=re.DOTALL)
    assert len(blocks) == 7
    assert page.count("```") == 2 * len(blocks)
    for block in blocks:
        assert block.count("\\begin") == block.count("\\end") == 1
        assert block.count("{") == block.count("}")
    assert "h_1 &= w_1 \\cdot i_1 + w_2 \\cdot i_2 \\\\" in blocks[0]  # no bias, no b_1
    assert "&= 0.15 \\cdot 0.05 + 0.2 \\cdot 0.1 = 0.0275" in blocks[0]
    for figure in re.findall(r"!\[.+?\]\((.+?)\)", page):
        assert (reports / figure).is_file()
    for value in ("67.1006", "61.902", "0.0003518686651", "0.2910279239", "0.2910277737"):
        assert value in page
    assert all(float(cell) <= 1e-12 for cell in re.findall(r"\| (\d\.\de-\d+) \|\n", page))


def test_the_same_study_writes_the_same_bytes(
    reports: Path, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(params)
    for path in reports.iterdir():
        assert (BACKPROP_REPORTS / path.name).read_bytes() == path.read_bytes(), path.name


def test_another_network_is_named_checked_and_derived_with_its_biases(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = (-1.0, 2.0, 0.25, 0.3, 0.4, 0.45, 0.5, 0.55)
    rates = {"learning_rates": (3.0,), "worksheet_learning_rate": 3.0}
    run(params, weights=weights, biases=(-0.5, 0.25), **rates, iterations=5)
    checked = pd.read_csv(BACKPROP_REPORTS / "gradient_check.csv")
    assert checked["network"].tolist() == ["own", "reference", "mazur"]
    page = (BACKPROP_REPORTS / "derivation.md").read_text(encoding="utf-8")
    assert "network `own`" in page
    assert "&= (-1) \\cdot 0.05 + 2 \\cdot 0.1 + (-0.5) = -0.35" in page
    assert "0.2910279239" in page  # errata are the presets', whatever is studied


def test_a_preset_is_studied_whatever_the_other_network_is(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(params, preset="mazur", targets=(0.1, 0.2))
    metrics = json.loads((BACKPROP_REPORTS / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["loss_before"] == pytest.approx(0.29837110876000267, rel=1e-12)
    assert "first_step_edge" not in metrics["hill"]
    assert "at every rate" in (BACKPROP_REPORTS / "derivation.md").read_text(encoding="utf-8")


def test_a_network_with_nothing_to_learn_is_reported_without_a_hill(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    network = {"inputs": (0.0, 0.0), "targets": (0.0, 1.0), "weights": (0.0,) * 4 + (1e6,) * 4}
    run(params, **network, biases=(1e6, 1e6), iterations=1)
    metrics = json.loads((BACKPROP_REPORTS / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["hill"] == {}
    assert all(math.isfinite(loss) for loss in metrics["loss_after"].values())


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("0.1, 0.2", "0.1, 0"),
        ("0.1, 0.2", "0.1, -0.2"),
        ("0.1, 0.2", "0.1, .nan"),
        ("0.1, 0.2", "0.1, .inf"),
        ("0.1, 0.2", "0.1, fast"),
        (", 0.55]", "]"),
        ("targets: [0.5, 0.5]", "targets: [0.5]"),
        ("iterations: 100", "iterations: 0"),
        ("iterations: 100", "iterations: 10000000"),
        ("worksheet_learning_rate: 0.5", "worksheet_learning_rate: 0.3"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    right: str,
    wrong: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert right in text
    (tmp_path / "params.yaml").write_text(text.replace(right, wrong, 1), encoding="utf-8")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["backprop"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"params.yaml", "dvc.yaml"}
