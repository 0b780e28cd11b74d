import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from project import ROOT

from mnist12k.errors import UserError
from mnist12k.fingerprint import git_state
from mnist12k.outputs import EvaluateResult, read_finalists, read_results
from mnist12k.paths import BEST_PARAMS, SEEDS_REPORTS, TUNE_REPORTS
from mnist12k.report.page.render import columns, percent, short, words
from mnist12k.report.page.results import (
    benchmarks,
    calibration,
    confusion,
    optional,
    result,
    search,
    seeds,
)


def predictions_of(rows: list[tuple[int, int, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["label", "prediction", "probability"])


def test_columns_have_none_for_empty_cells_and_infinities() -> None:
    table = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, float("inf")], "x": [float("nan"), 2.0]})
    assert columns(table) == {"epoch": [1, 2], "loss": [0.5, None], "x": [None, 2.0]}


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (True, "yes"), (12442, "12,442"), (0.123456789, "0.12346"), ([1, 2], "1, 2")],
)
def test_values_are_shown_shortly(value: object, text: str) -> None:
    assert short(value) == text


def test_a_percentage_stays_on_the_line_of_its_sign() -> None:
    assert percent(0.9963) == "99.63\N{NO-BREAK SPACE}%"


def test_both_accuracies_lie_on_one_scale() -> None:
    evaluated = EvaluateResult(
        test_loss=0.01,
        test_accuracy=0.9963,
        test_correct=9963,
        test_total=10_000,
        test_accuracy_low=0.9949,
        test_accuracy_high=0.9973,
        model_md5="1",
    )
    content = result(evaluated, "MNIST")
    assert content["scale"] == pytest.approx((0.992, 0.998))
    write_up = content["rows"][1]
    assert (write_up.low, write_up.high) == pytest.approx((0.9930, 0.9959), abs=5e-5)
    assert [row.name for row in result(evaluated, "letters")["rows"]] == ["this network"]


def test_the_confusion_matrix_has_all_ten_digits() -> None:
    cells = confusion(predictions_of([(1, 1, 0.9), (1, 1, 0.9), (4, 9, 0.5)]), "0123456789")
    assert [len(row) for row in cells] == [10] * 10
    assert cells[1][1] == {"count": 2, "shade": 1}
    assert [cell["count"] for cell in cells[4]] == [0] * 9 + [1]


def test_a_network_as_accurate_as_it_is_confident_has_no_calibration_error() -> None:
    content = calibration(predictions_of([(1, 1 if k < 3 else 7, 0.75) for k in range(4)]))
    assert content["error"] == 0
    ((accuracy, images),) = content["bins"]
    assert (accuracy.name, accuracy.value, accuracy.dots) == (
        "70 to 80\N{NO-BREAK SPACE}%",
        0.75,
        (0.75,),
    )
    assert images == 4


def test_a_bin_of_confidence_has_its_lower_edge_and_the_last_one_has_1() -> None:
    rows = [(1, 1, 0.5), (1, 1, 0.4999), (1, 7, 0.999), (1, 1, 1.0)]
    content = calibration(predictions_of(rows))
    names = [(accuracy.name.split()[0], images) for accuracy, images in content["bins"]]
    assert names == [("0", 1), ("50", 1), ("99.9", 2)]
    gaps = (1 - 0.4999) + (1 - 0.5) + 2 * abs((0.999 + 1) / 2 - 0.5)
    assert content["error"] == pytest.approx(gaps / 4)


def test_what_has_not_been_run_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert optional("seeds study", seeds) is None
    assert optional("search", search) is None
    assert benchmarks(tmp_path) == []
    assert capsys.readouterr().err == ""


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder has the repository's seeds study and search."""
    for folder in (SEEDS_REPORTS, TUNE_REPORTS):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("studies")
def test_the_committed_studies_are_shown() -> None:
    content = seeds()
    assert content is not None
    results = read_results()
    trained = (results["network"] + " " + results["recipe"]).value_counts(sort=False).tolist()
    assert [len(row.dots) for row, _ in content["rows"]] == trained
    assert trained[:3] == [20, 20, 20]
    content = search()
    assert content is not None
    assert len(content["finalists"]) == read_finalists()["trial"].nunique()
    lowest = content["trials"]["lowest"]
    assert lowest == sorted(lowest, reverse=True)


@pytest.mark.usefixtures("studies")
@pytest.mark.parametrize("content", [b"", b"\xff", b"train:\n  \xff\n", b"{}\n"])
@pytest.mark.parametrize("name", ["seeds/results.csv", "tune/finalists.csv", "tune/metrics.json"])
def test_a_damaged_file_of_an_optional_study_is_one_warning(
    name: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("reports", name).write_bytes(content)
    optional("seeds study", seeds), optional("search", search)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mnist12k: warning: the page omits the ")
    assert f"reports/{name} is damaged" in line


@pytest.mark.usefixtures("studies")
def test_best_params_that_are_not_text_are_one_warning(capsys: pytest.CaptureFixture[str]) -> None:
    BEST_PARAMS.write_bytes(b"\xff\xfe")
    assert optional("search", search) is None
    assert capsys.readouterr().err.count(f"{BEST_PARAMS} is damaged") == 1


def test_nested_figures_of_a_benchmark_are_named_by_their_path_and_its_rows_are_a_table(
    tmp_path: Path,
) -> None:
    rows = [{"k": 1, "of": {"a": 3}}, {"k": 2, "b": "x"}]
    figures = {"ours": {"seconds_per_epoch": 1.5}, "rows": rows, "ratio": 2.0, "mixed": [{}, 1]}
    (tmp_path / "speed.json").write_text(json.dumps(figures), encoding="utf-8")
    (shown,) = benchmarks(tmp_path)
    assert shown["name"] == "speed"
    assert shown["figures"] == {"ours.seconds_per_epoch": 1.5, "ratio": 2.0, "mixed": [{}, 1]}
    assert [words(name) for name in shown["figures"]][:2] == ["ours, seconds per epoch", "ratio"]
    assert shown["tables"] == {
        "rows": {"columns": ["k", "of.a", "b"], "rows": [[1, 3, None], [2, None, "x"]]}
    }


@pytest.mark.parametrize("content", ["", "[1]", '{"ratio": 1'])
def test_a_damaged_benchmark_is_an_error_that_names_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "speed.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"speed\.json is damaged"):
        benchmarks(tmp_path)


def test_outside_of_git_there_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert git_state() is None
    assert capsys.readouterr().err == ""
