import csv
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnist12k.cli import main
from mnist12k.params import Params, load_params
from mnist12k.stages import backprop

ROOT = Path(__file__).parents[2]
REPORTS = Path("reports/backprop")

Studied = Callable[..., Path]


def study(params: Params, **changes: Any) -> Params:
    return params.model_copy(update={"backprop": params.backprop.model_copy(update=changes)})


@pytest.fixture(scope="module")
def seed_reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole study as params.yaml has it, made once."""
    folder = tmp_path_factory.mktemp("seed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        backprop.run(load_params(ROOT / "params.yaml"))
    return folder / REPORTS


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_stage_writes_what_dvc_yaml_says_and_nothing_else(seed_reports: Path) -> None:
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    said = {Path(path).name for path in re.findall(r"- (reports/backprop/\S+):", text)}
    assert {path.name for path in seed_reports.iterdir()} == said


def test_its_metrics_hold_the_proof_and_the_rates_found(seed_reports: Path) -> None:
    metrics = json.loads((seed_reports / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["largest_deviation"]["gradient_autograd"] <= 1e-14
    assert metrics["largest_deviation"]["curve_relative"] <= 1e-12
    assert metrics["hill"]["first_step_edge"] == pytest.approx(67.1, abs=0.01)
    assert metrics["hill"]["fastest_updates"] == 1
    assert None not in metrics["hill"].values()


def test_every_preset_is_proven_at_every_rate(seed_reports: Path) -> None:
    rows = read_csv(seed_reports / "gradient_check.csv")
    proven = {(row["network"], float(row["learning_rate"])) for row in rows}
    rates = (0.1, 0.2, 0.5, 0.8, 1.0, 2.0)
    assert proven == {(name, rate) for name in ("seed", "mazur") for rate in rates}


def test_losses_and_steps_are_long_and_agree(seed_reports: Path) -> None:
    losses = read_csv(seed_reports / "losses.csv")
    assert len(losses) == 6 * 101
    steps = read_csv(seed_reports / "steps.csv")
    curve = [row["loss"] for row in losses if row["learning_rate"] == "0.5"]
    assert curve == [row["E_total"] for row in steps]


def test_the_derivation_shows_this_networks_numbers_in_whole_math_blocks(
    seed_reports: Path,
) -> None:
    page = (seed_reports / "derivation.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```math\n(.*?)```\n", page, flags=re.DOTALL)
    assert len(blocks) == 7
    assert page.count("```") == 2 * len(blocks)
    for block in blocks:
        assert block.count("\\begin") == block.count("\\end") == 1
        assert block.count("{") == block.count("}")
    assert "h_1 &= w_1 \\cdot i_1 + w_2 \\cdot i_2 \\\\" in blocks[0]  # no bias, no b_1
    assert "&= 0.15 \\cdot 0.05 + 0.2 \\cdot 0.1 = 0.0275" in blocks[0]
    for picture in re.findall(r"!\[.+?\]\((.+?)\)", page):
        assert (seed_reports / picture).is_file()
    for value in ("67.1006", "61.902", "0.0003518686651", "0.2910279239", "0.2910277737"):
        assert value in page
    assert all(float(cell) <= 1e-12 for cell in re.findall(r"\| (\d\.\de-\d+) \|\n", page))


def test_the_same_study_writes_the_same_bytes(
    seed_reports: Path, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    backprop.run(params)
    for path in seed_reports.iterdir():
        assert (tmp_path / REPORTS / path.name).read_bytes() == path.read_bytes(), path.name


def test_another_network_is_named_proven_and_derived_with_its_biases(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = (-1.0, 2.0, 0.25, 0.3, 0.4, 0.45, 0.5, 0.55)
    changes = {"weights": weights, "biases": (-0.5, 0.25), "learning_rates": (3.0,)}
    backprop.run(study(params, **changes, worksheet_learning_rate=3.0, iterations=5))
    rows = read_csv(REPORTS / "gradient_check.csv")
    assert [row["network"] for row in rows] == ["own", "seed", "mazur"]
    page = (REPORTS / "derivation.md").read_text(encoding="utf-8")
    assert "network `own`" in page
    assert "&= (-1) \\cdot 0.05 + 2 \\cdot 0.1 + (-0.5) = -0.35" in page
    assert "0.2910279239" in page  # errata are the presets', whatever is studied


def test_a_preset_is_studied_whatever_ones_own_network_is(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    backprop.run(study(params, preset="mazur", targets=(0.1, 0.2)))
    metrics = json.loads((REPORTS / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["loss_before"] == pytest.approx(0.29837110876000267, rel=1e-12)
    assert metrics["hill"]["first_step_edge"] is None
    assert "at every rate" in (REPORTS / "derivation.md").read_text(encoding="utf-8")


def test_a_network_with_nothing_to_learn_is_reported_without_a_hill(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = {"inputs": (0.0, 0.0), "targets": (0.0, 1.0), "weights": (0.0,) * 4 + (1e6,) * 4}
    backprop.run(study(params, **own, biases=(1e6, 1e6), iterations=1))
    metrics = json.loads((REPORTS / "metrics.json").read_text(encoding="utf-8"))
    assert set(metrics["hill"].values()) == {None}
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
def test_bad_input_is_one_line_and_nothing_written(
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
