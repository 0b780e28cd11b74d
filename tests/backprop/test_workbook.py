import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from openpyxl.workbook import Workbook
from openpyxl.worksheet.worksheet import Worksheet
from oracle import REFERENCE

from mnist12k.backprop.settings import SmallNetwork
from mnist12k.backprop.study import STEP_COLUMNS, loss_curves, steps
from mnist12k.report.study.workbook import GIVEN, MAX_ITERATIONS, write_workbook

RATES = [0.1, 0.2, 0.5, 0.8, 1.0, 2.0]
ETA, ITERATIONS = 0.5, 100

needs_libreoffice = pytest.mark.skipif(
    shutil.which("soffice") is None, reason="LibreOffice is not installed"
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("workbook") / "backprop.xlsx"
    write_workbook(path, REFERENCE, RATES, ETA, ITERATIONS)
    return path


def given_cell(name: str) -> str:
    return f"B{5 + GIVEN.index(name)}"


def cells(sheet: Worksheet) -> Iterator[object]:
    return (cell.value for row in sheet.iter_rows() for cell in row)


def assert_agrees(
    workbook: Workbook, network: SmallNetwork, eta: float = ETA, rates: list[float] = RATES
) -> None:
    """Compare every number of the sheets Descent and Rates with Python's."""
    rows = list(workbook["Descent"].iter_rows(min_row=3, values_only=True))
    assert rows[0] == ("iteration", *STEP_COLUMNS)
    numbers = np.array(rows[1:], dtype=float)
    expected = steps(network, eta, ITERATIONS)
    np.testing.assert_array_equal(numbers[:, 0], np.arange(ITERATIONS + 1))
    np.testing.assert_allclose(numbers[:, 1:], expected, rtol=1e-12, atol=1e-17)
    loss = 1 + STEP_COLUMNS.index("E_total")
    np.testing.assert_allclose(numbers[:, loss], expected[:, loss - 1], rtol=1e-12)

    rows = list(workbook["Rates"].iter_rows(min_row=3, max_col=1 + len(rates), values_only=True))
    assert rows[0] == ("learning rate", *rates)
    curves = np.array(rows[2:], dtype=float)[:, 1:]
    np.testing.assert_allclose(curves, loss_curves(network, rates, ITERATIONS), rtol=1e-12)


def recalculate(
    path: Path, folder: Path, change: Callable[[Workbook], None] = lambda _: None
) -> Workbook:
    """Change the workbook and let LibreOffice compute it from its formulas alone.

    openpyxl saves formulas without the values written by Python.
    """
    workbook = openpyxl.load_workbook(path)
    change(workbook)
    workbook.save(folder / "changed.xlsx")
    assert set(
        cells(openpyxl.load_workbook(folder / "changed.xlsx", data_only=True)["Descent"])
    ) <= {
        None,
        *range(ITERATIONS + 1),
        *(c for c in cells(workbook["Descent"]) if isinstance(c, str)),
    }
    subprocess.run(
        [
            "soffice",
            f"-env:UserInstallation={(folder / 'profile').as_uri()}",
            "--headless",
            "--convert-to",
            "xlsx",
            "--outdir",
            str(folder / "out"),
            str(folder / "changed.xlsx"),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return openpyxl.load_workbook(folder / "out" / "changed.xlsx", data_only=True)


@needs_libreoffice
def test_libreoffice_computes_what_python_computes(path: Path, tmp_path: Path) -> None:
    assert_agrees(recalculate(path, tmp_path), REFERENCE)


@needs_libreoffice
def test_a_change_to_any_given_cell_recalculates_to_pythons_numbers(
    path: Path, tmp_path: Path
) -> None:
    changed = SmallNetwork(
        inputs=(0.3, -1.2),
        targets=(0.9, 0.05),
        weights=(-0.3, 0.2, 2, 0.3, -0.4, 1.5, 0.5, 3),
        biases=(-0.1, 0.7),
    )
    numbers = (*changed.inputs, *changed.targets, *changed.weights, *changed.biases, 1.7)

    def change(workbook: Workbook) -> None:
        for name, number in zip(GIVEN, numbers, strict=True):
            workbook["Network"][given_cell(name)] = number
        workbook["Rates"]["C3"] = 3.3
        workbook["Rates"]["G3"] = 1e6  # at which a plain exp(-x) overflows

    assert_agrees(recalculate(path, tmp_path, change), changed, 1.7, [0.1, 3.3, 0.5, 0.8, 1.0, 1e6])


def test_viewers_that_do_not_calculate_show_pythons_numbers(path: Path) -> None:
    assert_agrees(openpyxl.load_workbook(path, data_only=True), REFERENCE)


def test_every_number_but_the_inputs_is_a_formula(path: Path) -> None:
    workbook = openpyxl.load_workbook(path)
    typed_in = [
        cell.coordinate
        for sheet in ("Network", "Descent", "Rates")
        for row in workbook[sheet].iter_rows()
        for cell in row
        if isinstance(cell.value, int | float)
        and cell.fill.fgColor.rgb != "FFFFF2AB"
        and not (cell.column == 1 and sheet != "Network")  # the iterations' numbers
    ]
    assert typed_in == []


def test_each_cell_of_the_steps_has_its_formula_beside_it(path: Path) -> None:
    sheet = openpyxl.load_workbook(path)["Network"]
    formulas = {row[3].value: (row[4].value, row[5].value) for row in sheet.iter_rows()}
    assert formulas["h2"] == (
        "=B11*B5+B12*B6+B17".replace("B", "Network!$B$"),
        "w3 * i1 + w4 * i2 + b1",
    )
    assert formulas["dE_dw7"][1] == "(a_o2 - t2) * a_o2 * (1 - a_o2) * a_h1"


def test_the_network_and_the_losses_are_native_charts(path: Path) -> None:
    workbook = openpyxl.load_workbook(path)
    assert len(workbook["Network"]._charts) == 2
    assert len(workbook["Rates"]._charts[0].series) == len(RATES)


def test_the_same_study_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    write_workbook(tmp_path / "again.xlsx", REFERENCE, RATES, ETA, ITERATIONS)
    assert (tmp_path / "again.xlsx").read_bytes() == path.read_bytes()


def test_the_workbook_of_a_long_study_is_limited(tmp_path: Path) -> None:
    write_workbook(tmp_path / "long.xlsx", REFERENCE, [0.5], 0.5, 10_000)
    sheet = openpyxl.load_workbook(tmp_path / "long.xlsx")["Descent"]
    numbers = [row[0] for row in sheet.iter_rows(min_row=4, max_col=1, values_only=True)]
    assert numbers[-1] == MAX_ITERATIONS
    assert all(after == before + 1 for before, after in pairwise(numbers))


def test_a_yellow_cell_accepts_only_what_the_study_does(path: Path) -> None:
    workbook = openpyxl.load_workbook(path)
    rules = {
        (sheet, str(rule.sqref)): (rule.type, rule.operator, rule.formula1, rule.formula2)
        for sheet in ("Network", "Rates")
        for rule in workbook[sheet].data_validations.dataValidation
    }
    yellow = {
        (sheet, cell.coordinate)
        for sheet in ("Network", "Rates")
        for row in workbook[sheet].iter_rows()
        for cell in row
        if cell.fill.fgColor.rgb == "FFFFF2AB"
    }
    assert set(rules) == yellow
    assert rules["Network", given_cell("t1")] == ("decimal", None, "0", "1")
    assert rules["Network", given_cell("w5")] == ("decimal", None, "-1000000", "1000000")
    assert rules["Network", given_cell("η")] == ("decimal", "greaterThan", "0", None)


@pytest.mark.parametrize("name", ["Network", "Descent", "Rates"])
def test_a_printed_sheet_is_large_enough_to_read(path: Path, name: str) -> None:
    sheet = openpyxl.load_workbook(path)[name]
    assert not sheet.sheet_properties.pageSetUpPr.fitToPage
    assert sheet.page_setup.scale >= 70
    # A page of the sheet's own columns, without those of a chart, is no wider than A4.
    last = {"Network": 6, "Descent": 1, "Rates": 1 + len(RATES)}[name]
    letters = [openpyxl.utils.get_column_letter(k) for k in range(1, last + 1)]
    width = sum(_width(sheet, letter) for letter in letters)
    printable = 11.69 - sheet.page_margins.left - sheet.page_margins.right
    assert width / 96 * sheet.page_setup.scale / 100 <= printable  # inches


def _width(sheet: Worksheet, letter: str) -> float:
    """Return a column's width in pixels: 7 per character, and 5."""
    for key, column in sheet.column_dimensions.items():
        first = openpyxl.utils.column_index_from_string(key)
        if first <= openpyxl.utils.column_index_from_string(letter) <= (column.max or first):
            return float(7 * column.width + 5)
    return 64


def test_the_drawn_network_shows_its_numbers(path: Path) -> None:
    formulas, values = (
        {row[0].value: row[3].value for row in workbook["Drawing"].iter_rows(min_row=2, max_row=15)}
        for workbook in (openpyxl.load_workbook(path), openpyxl.load_workbook(path, data_only=True))
    )
    assert values["w5"] == "w5 = 0.4"
    assert values["h1"] == "a_h1 = 0.5069"
    assert formulas["w5"] == '="w5 = "&ROUND(Network!$B$13,4)'
    assert given_cell("w5") == "B13"
    with zipfile.ZipFile(path) as parts:
        chart = parts.read("xl/charts/chart1.xml").decode()
    labels = re.findall(r"<c:dLbl>.*?<c:f>(.*?)</c:f>", chart)
    assert labels == [f"Drawing!$D${row}" for row in range(2, 16)]
