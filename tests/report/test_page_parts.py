import json
from pathlib import Path

import pytest

from mnist12k.backprop.formulas import FORMULAS
from mnist12k.backprop.network import Network
from mnist12k.errors import UserError
from mnist12k.report.page import json_in_html, percent, short, words
from mnist12k.report.page_made import commit
from mnist12k.report.page_results import answer, benchmarks, calibration, search, seeds
from mnist12k.report.tables import read_table
from mnist12k.report.worked_steps import worked_steps


def test_json_in_a_page_keeps_its_content_and_ends_nothing() -> None:
    content = {"a": "</script><!-- b"}
    text = json_in_html(content)
    assert "</" not in text
    assert "<!--" not in text
    assert json.loads(text) == content


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (True, "yes"), (12442, "12,442"), (0.123456789, "0.12346"), ([1, 2], "1, 2")],
)
def test_values_are_shown_shortly(value: object, text: str) -> None:
    assert short(value) == text


def test_a_percentage_is_not_parted_from_its_sign() -> None:
    assert percent(0.9963) == "99.63\N{NO-BREAK SPACE}%"


def test_the_steps_name_everything_that_the_formulas_do() -> None:
    steps = worked_steps(Network((0.05, 0.1), (0.5, 0.5), (0.1,) * 8, (0, 0)))
    assert len(steps) == 7
    assert {line.name for step in steps for line in step.lines} >= set(FORMULAS)


@pytest.mark.parametrize("bias", [0.0, 0.25])
def test_a_bias_is_shown_unless_it_is_0(bias: float) -> None:
    forward = worked_steps(Network((0.05, 0.1), (0.5, 0.5), (0.1,) * 8, (bias, 0)))[0]
    put_in = forward.lines[0].put_in
    assert put_in is not None
    assert ('data-number="b1"' in put_in) == bool(bias)


def test_both_accuracies_lie_on_one_scale() -> None:
    shown = answer(
        {"test_accuracy": 0.9963, "test_accuracy_low": 0.9949, "test_accuracy_high": 0.9973}
    )
    low, high = shown["scale"]
    assert (low, high) == pytest.approx((0.992, 0.998))
    write_up = shown["rows"][1]
    assert (write_up["low"], write_up["high"]) == pytest.approx((0.9930, 0.9959), abs=5e-5)


def test_a_network_that_is_right_as_often_as_it_says_has_no_calibration_error() -> None:
    rows = [
        {"label": "1", "prediction": "1" if k < 3 else "7", "probability": "0.75"} for k in range(4)
    ]
    found = calibration(rows)
    assert found["error"] == 0
    assert [(each["images"], each["value"]) for each in found["bins"]] == [(4, 0.75)]
    certain = [{"label": "1", "prediction": "1", "probability": "1.0"}]
    assert calibration(certain)["bins"][0]["images"] == 1


def test_what_has_not_been_run_is_not_shown(tmp_path: Path) -> None:
    assert seeds(tmp_path) is None
    assert search(tmp_path) is None
    assert benchmarks(tmp_path) == []


def test_nested_figures_of_a_benchmark_are_named_by_their_path_and_its_rows_are_a_table(
    tmp_path: Path,
) -> None:
    rows = [{"k": 1, "of": {"a": 3}}, {"k": 2, "b": "x"}]
    text = json.dumps({"ours": {"seconds_per_epoch": 1.5}, "rows": rows, "ratio": 2.0})
    (tmp_path / "speed.json").write_text(text, encoding="utf-8")
    (shown,) = benchmarks(tmp_path)
    assert shown["name"] == "speed"
    assert shown["figures"] == {"ours.seconds_per_epoch": 1.5, "ratio": 2.0}
    assert [words(name) for name in shown["figures"]] == ["ours, seconds per epoch", "ratio"]
    assert shown["tables"] == {
        "rows": {"columns": ["k", "of.a", "b"], "rows": [[1, 3, None], [2, None, "x"]]}
    }


def test_an_absent_report_is_told_with_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`dvc repro train` makes it"):
        read_table(tmp_path / "train/history.csv")


def test_outside_of_git_there_is_no_commit(tmp_path: Path) -> None:
    assert commit(tmp_path) is None
