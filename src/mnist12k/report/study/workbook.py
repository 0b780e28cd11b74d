"""The study as a workbook of live formulas: changing a yellow cell recalculates every sheet.

The cells' formulas and the text beside them both come from `formulas`, so they cannot disagree.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.utility import xl_rowcol_to_cell
from xlsxwriter.worksheet import Worksheet

from mnist12k.backprop.network import Forward
from mnist12k.backprop.settings import SmallNetwork
from mnist12k.backprop.study import STEP_COLUMNS
from mnist12k.report.study.formulas import (
    FORMULAS,
    GRADIENTS,
    UPDATED,
    WEIGHTS,
    Numbers,
    first_iteration,
    named_steps,
)
from mnist12k.report.study.notation import NAME
from mnist12k.report.study.workbook_charts import CHART_COLUMNS, add_charts

GIVEN = ("i1", "i2", "t1", "t2", *WEIGHTS, "b1", "b2", "η")
ITERATION = (  # the sections of sheet Network
    ("Step 1: forward pass and loss", Forward._fields),
    ("Steps 2 and 3: gradients of the output layer", GRADIENTS[4:]),
    ("Steps 4 to 6: gradients of the hidden layer", GRADIENTS[:4]),
    ("Step 7: update", UPDATED),
)
MAX_ITERATIONS = 500  # of a longer study only the first, so that the file stays readable

PRINT_SCALES = {"Network": 85, "Descent": 70, "Rates": 70}  # percent

HEAD = {"bold": True, "bottom": 1, "align": "right"}
NOTE = {"font_color": "#666666"}
YELLOW = {"bg_color": "#FFF2AB"}
STYLES = {
    "title": {"bold": True, "font_size": 14},
    "section": {"bold": True, "bg_color": "#DCE9F7"},
    "note": NOTE,
    "formula": {**NOTE, "font_name": "Consolas", "indent": 1},
    "formula_above": {**NOTE, "font_size": 7, "text_wrap": True, "valign": "bottom"},
    "head": HEAD,
    "given": {**YELLOW, "border": 1},
    "given_head": {**YELLOW, **HEAD},
    "number": {"num_format": "0.000000000"},
}

Cells = dict[str, str]  # a quantity's name -> its cell
Styles = Mapping[str, Format]


def write_workbook(
    path: Path, network: SmallNetwork, learning_rates: Sequence[float], rate: float, iterations: int
) -> None:
    """Write the workbook to `path`; the same arguments give the same bytes.

    Sheets: "Network" (the inputs, and one iteration step by step), "Descent" (every number of
    every iteration at `rate`), "Rates" (one loss curve per rate, each with its own yellow cell),
    all limited to MAX_ITERATIONS. Each cell also holds the value computed by Python, for viewers
    that do not calculate.
    """
    iterations = min(iterations, MAX_ITERATIONS)
    with Workbook(str(path)) as workbook:
        workbook.set_properties({"title": "The 2-2-2 network", "created": datetime(2000, 1, 1)})
        styles = {name: workbook.add_format(style) for name, style in STYLES.items()}
        sheets = {name: workbook.add_worksheet(name) for name in ("Network", "Descent", "Rates")}
        cells = _write_network(sheets["Network"], styles, network, rate)
        given = {name: cells[name] for name in GIVEN}
        _write_descent(sheets["Descent"], styles, given, named_steps(network, rate, iterations))
        curves = {each: named_steps(network, each, iterations) for each in learning_rates}
        _write_rates(sheets["Rates"], styles, given, curves)
        numbers = first_iteration(network, rate)
        add_charts(workbook, sheets, len(learning_rates), iterations, cells, numbers)
        _set_pages(sheets, len(learning_rates), iterations)


def _set_pages(sheets: Mapping[str, Worksheet], curves: int, iterations: int) -> None:
    """Print at a size that can be read: wide sheets on several pages, with their heads on each."""
    for name, scale in PRINT_SCALES.items():
        sheets[name].set_landscape()
        sheets[name].set_paper(9)  # A4
        sheets[name].set_margins(left=0.4, right=0.4, top=0.5, bottom=0.5)
        sheets[name].set_print_scale(scale)
    sheets["Network"].set_v_pagebreaks([6])  # the charts have a page of their own
    sheets["Descent"].repeat_rows(1, 2)
    sheets["Descent"].repeat_columns(0)
    sheets["Rates"].repeat_rows(2, 3)
    sheets["Rates"].print_area(0, 0, iterations + 4, curves + CHART_COLUMNS + 1)


def _write_network(
    sheet: Worksheet, styles: Styles, network: SmallNetwork, learning_rate: float
) -> Cells:
    """Write the inputs and one iteration; return every cell, for use in any sheet."""
    sheet.write(0, 0, "The 2-2-2 network by hand", styles["title"])
    sheet.write(1, 0, "Change a yellow cell to recalculate all sheets.", styles["note"])
    sheet.write_row(3, 0, ("Inputs", ""), styles["section"])
    sheet.set_column("D:D", 9)
    sheet.set_column("E:E", 13)
    sheet.set_column("F:F", 92)
    numbers = (*network.inputs, *network.targets, *network.weights, *network.biases, learning_rate)
    given = {}
    for row, (name, number) in enumerate(zip(GIVEN, numbers, strict=True), start=4):
        sheet.write(row, 0, name)
        sheet.write_number(row, 1, number, styles["given"])
        sheet.data_validation(row, 1, row, 1, _allowed(name))
        given[name] = f"Network!{xl_rowcol_to_cell(row, 1, True, True)}"

    values = first_iteration(network, learning_rate)
    cells = dict(given)
    row = 3
    for title, names in ITERATION:
        sheet.write_row(row, 3, (title, "", ""), styles["section"])
        for name in names:
            row += 1
            sheet.write(row, 3, name)
            formula = _formula(FORMULAS[name], cells)
            sheet.write_formula(row, 4, formula, styles["number"], values[name])
            sheet.write_string(row, 5, FORMULAS[name], styles["formula"])
            cells[name] = xl_rowcol_to_cell(row, 4)
        row += 1
    return given | {name: f"Network!{cell}" for name, cell in cells.items() if name not in given}


def _write_descent(
    sheet: Worksheet, styles: Styles, given: Cells, steps: Sequence[Numbers]
) -> None:
    title = "Every number of every iteration, at the learning rate η of sheet Network"
    sheet.write(0, 0, title, styles["title"])
    sheet.set_row(1, 100)
    sheet.set_column(1, len(STEP_COLUMNS), 13)
    sheet.freeze_panes(3, 1)
    sheet.write(2, 0, "iteration", styles["head"])
    sheet.write_column(3, 0, range(len(steps)))
    updates = {w: FORMULAS[f"new_{w}"] for w in WEIGHTS}
    columns = {name: (FORMULAS | updates).get(name, "given") for name in STEP_COLUMNS}
    for column, (name, formula) in enumerate(columns.items(), start=1):
        sheet.write(1, column, formula, styles["formula_above"])
        sheet.write(2, column, name, styles["head"])
    _write_steps(sheet, styles["number"], (3, 1), columns, given, steps)


def _write_rates(
    sheet: Worksheet, styles: Styles, given: Cells, curves: Mapping[float, Sequence[Numbers]]
) -> None:
    """Write the curves side by side, and to the right of their chart the numbers behind them."""
    title = "Loss at each learning rate, computed from the yellow cell above it"
    sheet.write(0, 0, title, styles["title"])
    sheet.write_column(2, 0, ("learning rate", "iteration"), styles["head"])
    sheet.freeze_panes(4, 1)
    sheet.set_column(0, len(curves), 13)
    # The gradients have no columns in this sheet, so each update contains its gradient's formula.
    updates = {w: f"{w} - η * {FORMULAS[f'dE_d{w}']}" for w in WEIGHTS}
    columns = {name: (FORMULAS | updates)[name] for name in (*WEIGHTS, *Forward._fields)}
    for curve, (rate, steps) in enumerate(curves.items(), start=1):
        rate_cell = xl_rowcol_to_cell(2, curve, True, True)
        left = len(curves) + CHART_COLUMNS + (len(columns) + 1) * (curve - 1) + 3
        sheet.write_number(2, curve, rate, styles["given_head"])
        sheet.data_validation(2, curve, 2, curve, _allowed("η"))
        sheet.write(3, curve, "E_total", styles["head"])
        sheet.write(2, left, "learning rate", styles["head"])
        sheet.write_formula(2, left + 1, f"={rate_cell}", styles["head"], rate)
        sheet.write_row(3, left, columns, styles["head"])
        sheet.write_column(4, 0, range(len(steps)))
        _write_steps(sheet, styles["number"], (4, left), columns, given | {"η": rate_cell}, steps)
        for row, values in enumerate(steps, start=4):
            loss = xl_rowcol_to_cell(row, left + list(columns).index("E_total"))
            sheet.write_formula(row, curve, f"={loss}", styles["number"], values["E_total"])


def _write_steps(
    sheet: Worksheet,
    style: Format,
    corner: tuple[int, int],
    columns: Mapping[str, str],
    given: Cells,
    steps: Sequence[Numbers],
) -> None:
    """Write one row per step; a weight's formula is its update, computed from the row above."""
    top, left = corner
    above: Cells = {}
    for row, values in enumerate(steps, start=top):
        cells = {name: xl_rowcol_to_cell(row, left + k) for k, name in enumerate(columns)}
        for column, (name, text) in enumerate(columns.items(), start=left):
            if name in FORMULAS:
                formula = _formula(text, given | cells)
            elif name in WEIGHTS and above:
                formula = _formula(text, given | above)
            else:
                formula = f"={given[name]}"
            sheet.write_formula(row, column, formula, style, values[name])
        above = cells


def _allowed(name: str) -> dict[str, Any]:
    """Return the rule for what may be typed into a yellow cell."""
    if name == "η":
        rule = {"criteria": ">", "value": 0}
        text = "a number above 0"
    else:
        low, high = (0, 1) if name.startswith("t") else (-1_000_000, 1_000_000)
        rule = {"criteria": "between", "minimum": low, "maximum": high}
        text = f"a number from {low:,} to {high:,}"
    return {
        "validate": "decimal",
        **rule,
        "ignore_blank": False,
        "error_title": f"{name} cannot have this value",
        "error_message": f"{name} should be {text}.",
    }


def _formula(text: str, cells: Mapping[str, str]) -> str:
    """Replace names by cells, and sigmoid() by a formula that does not overflow."""
    stable = r"IF(\1>=0,1/(1+EXP(-\1)),EXP(\1)/(1+EXP(\1)))"
    text = re.sub(r"sigmoid\((\w+)\)", stable, text.replace(" ", ""))
    return "=" + NAME.sub(lambda name: cells.get(name[0], name[0]), text)
