"""The study as a workbook of live formulas: changing a yellow cell recalculates every sheet.

The cells' formulas and the text beside them both come from `formulas`, so they cannot disagree.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.utility import xl_rowcol_to_cell
from xlsxwriter.worksheet import Worksheet

from mnist12k.backprop.network import Forward
from mnist12k.backprop.settings import SmallNetwork
from mnist12k.backprop.study import STEP_COLUMNS, Step, trajectory
from mnist12k.report.study.formulas import FORMULAS, GRADIENTS, UPDATED, WEIGHTS, named
from mnist12k.report.study.workbook_charts import CHART_COLUMNS, add_charts

GIVEN = ("i1", "i2", "t1", "t2", *WEIGHTS, "b1", "b2", "η")
ITERATION = (  # the sections of sheet Network
    ("Step 1: forward pass and loss", Forward._fields),
    ("Steps 2 and 3: gradients of the output layer", GRADIENTS[4:]),
    ("Steps 4 to 6: gradients of the hidden layer", GRADIENTS[:4]),
    ("Step 7: update", UPDATED),
)
CURVE_COLUMNS = (*WEIGHTS, *Forward._fields)
MAX_ITERATIONS = 500  # of a longer study only the first, so that the file stays readable

Cells = dict[str, str]  # a quantity's name -> its cell


def write_workbook(
    path: Path,
    network: SmallNetwork,
    learning_rates: Sequence[float],
    worksheet_learning_rate: float,
    iterations: int,
) -> None:
    """Write the workbook to `path`; the same arguments give the same bytes.

    Sheets: "Network" (the inputs, and one iteration step by step), "Descent" (every number of
    every iteration at one rate), "Rates" (one loss curve per rate, each with its own yellow cell),
    all limited to MAX_ITERATIONS. Each cell also holds the value computed by Python, for viewers
    that do not calculate.
    """
    iterations = min(iterations, MAX_ITERATIONS)
    steps = trajectory(network, worksheet_learning_rate, iterations + 1)
    with Workbook(str(path)) as workbook:
        workbook.set_properties({"title": "The 2-2-2 network", "created": datetime(2000, 1, 1)})
        style = _styles(workbook)
        sheets = {name: workbook.add_worksheet(name) for name in ("Network", "Descent", "Rates")}
        given = _write_given(sheets["Network"], style, network, worksheet_learning_rate)
        _write_iteration(sheets["Network"], style, network, given, steps[:2])
        _write_descent(sheets["Descent"], style, network, given, steps[:-1])
        _write_rates(sheets["Rates"], style, network, given, learning_rates, iterations)
        add_charts(workbook, sheets, len(learning_rates), iterations)
        for sheet in sheets.values():
            sheet.set_landscape()
            sheet.fit_to_pages(1, 0)
        last_column = len(learning_rates) + CHART_COLUMNS + 1
        sheets["Rates"].print_area(0, 0, iterations + 4, last_column)


def _styles(workbook: Workbook) -> dict[str, Format]:
    head = {"bold": True, "bottom": 1, "align": "right"}
    return {
        "title": workbook.add_format({"bold": True, "font_size": 14}),
        "section": workbook.add_format({"bold": True, "bg_color": "#DCE9F7"}),
        "note": workbook.add_format({"font_color": "#666666"}),
        "formula": workbook.add_format(
            {"font_color": "#666666", "font_name": "Consolas", "indent": 1}
        ),
        "formula_above": workbook.add_format(
            {"font_color": "#666666", "font_size": 7, "text_wrap": True, "valign": "bottom"}
        ),
        "head": workbook.add_format(head),
        "given": workbook.add_format({"bg_color": "#FFF2AB", "border": 1}),
        "given_head": workbook.add_format({"bg_color": "#FFF2AB", **head}),
        "number": workbook.add_format({"num_format": "0.000000000"}),
    }


def _formula(expression: str, cells: Mapping[str, str]) -> str:
    """Replace names by cells."""
    return "=" + "".join(cells.get(part, part) for part in _parts(expression))


@cache
def _parts(expression: str) -> list[str]:
    """Split at every name, with sigmoid() written so that it does not overflow."""
    stable = r"IF(\1>=0,1/(1+EXP(-\1)),EXP(\1)/(1+EXP(\1)))"
    expanded = re.sub(r"sigmoid\((\w+)\)", stable, expression)
    return re.split(r"([A-Za-zη]\w*)", expanded.replace(" ", ""))


def _write_given(
    sheet: Worksheet, style: dict[str, Format], network: SmallNetwork, learning_rate: float
) -> Cells:
    """Write the yellow cells; return their absolute references, for use in any sheet."""
    sheet.write(0, 0, "The 2-2-2 network by hand", style["title"])
    sheet.write(1, 0, "Change a yellow cell to recalculate all sheets.", style["note"])
    sheet.write(3, 0, "Inputs", style["section"])
    sheet.write(3, 1, "", style["section"])
    numbers = (*network.inputs, *network.targets, *network.weights, *network.biases, learning_rate)
    cells = {}
    for row, (name, number) in enumerate(zip(GIVEN, numbers, strict=True), start=4):
        sheet.write(row, 0, name)
        sheet.write_number(row, 1, number, style["given"])
        cells[name] = f"Network!{xl_rowcol_to_cell(row, 1, True, True)}"
    return cells


def _write_iteration(
    sheet: Worksheet,
    style: dict[str, Format],
    network: SmallNetwork,
    given: Cells,
    first_steps: Sequence[Step],
) -> None:
    sheet.set_column("D:D", 9)
    sheet.set_column("E:E", 13)
    sheet.set_column("F:F", 92)
    before, after = first_steps
    values = named(network, before)
    values |= {f"new_{w}": float(after.weights[k]) for k, w in enumerate(WEIGHTS)}
    cells = dict(given)
    row = 3
    for title, names in ITERATION:
        for column, text in enumerate((title, "", ""), start=3):
            sheet.write(row, column, text, style["section"])
        for name in names:
            row += 1
            sheet.write(row, 3, name)
            formula = _formula(FORMULAS[name], cells)
            sheet.write_formula(row, 4, formula, style["number"], values[name])
            sheet.write_string(row, 5, FORMULAS[name], style["formula"])
            cells[name] = xl_rowcol_to_cell(row, 4)
        row += 1


def _write_descent(
    sheet: Worksheet,
    style: dict[str, Format],
    network: SmallNetwork,
    given: Cells,
    steps: Sequence[Step],
) -> None:
    sheet.write(
        0,
        0,
        "Every number of every iteration, at the learning rate η of sheet Network",
        style["title"],
    )
    sheet.set_row(1, 100)
    sheet.set_column(1, len(STEP_COLUMNS), 13)
    sheet.freeze_panes(3, 1)
    sheet.write(2, 0, "iteration", style["head"])
    for column, name in enumerate(STEP_COLUMNS, start=1):
        text = FORMULAS.get(name) or (f"{name} - η * dE_d{name}" if name in WEIGHTS else "given")
        sheet.write_string(1, column, text, style["formula_above"])
        sheet.write(2, column, name, style["head"])
    before: Cells = {}
    for iteration, step in enumerate(steps):
        row = iteration + 3
        cells = {name: xl_rowcol_to_cell(row, 1 + k) for k, name in enumerate(STEP_COLUMNS)}
        values = named(network, step)
        sheet.write(row, 0, iteration)
        for column, name in enumerate(STEP_COLUMNS, start=1):
            if name in FORMULAS:
                formula = _formula(FORMULAS[name], given | cells)
            elif name in WEIGHTS and before:
                formula = _formula(FORMULAS[f"new_{name}"], given | before)
            else:
                formula = f"={given[name]}"
            sheet.write_formula(row, column, formula, style["number"], values[name])
        before = cells


def _write_rates(
    sheet: Worksheet,
    style: dict[str, Format],
    network: SmallNetwork,
    given: Cells,
    learning_rates: Sequence[float],
    iterations: int,
) -> None:
    """Write the curves side by side, and to the right of their chart the numbers behind them."""
    sheet.write(
        0, 0, "Loss at each learning rate, computed from the yellow cell above it", style["title"]
    )
    sheet.write(2, 0, "learning rate", style["head"])
    sheet.freeze_panes(4, 1)
    sheet.set_column(0, len(learning_rates), 13)
    for iteration in range(iterations + 1):
        sheet.write(iteration + 4, 0, iteration)
    sheet.write(3, 0, "iteration", style["head"])
    for curve, rate in enumerate(learning_rates, start=1):
        rate_cell = xl_rowcol_to_cell(2, curve, True, True)
        sheet.write_number(2, curve, rate, style["given_head"])
        sheet.write(3, curve, "E_total", style["head"])
        first = len(learning_rates) + CHART_COLUMNS + (len(CURVE_COLUMNS) + 1) * (curve - 1) + 3
        sheet.write(2, first, "learning rate", style["head"])
        sheet.write_formula(2, first + 1, f"={rate_cell}", style["head"], rate)
        for column, name in enumerate(CURVE_COLUMNS, start=first):
            sheet.write(3, column, name, style["head"])
        before: Cells = {}
        for row, step in enumerate(trajectory(network, rate, iterations), start=4):
            cells = {
                name: xl_rowcol_to_cell(row, first + k) for k, name in enumerate(CURVE_COLUMNS)
            }
            values = named(network, step)
            for column, name in enumerate(CURVE_COLUMNS, start=first):
                if name in FORMULAS:
                    formula = _formula(FORMULAS[name], given | cells)
                elif before:
                    update = f"{name} - η * {FORMULAS[f'dE_d{name}']}"
                    formula = _formula(update, given | before | {"η": rate_cell})
                else:
                    formula = f"={given[name]}"
                sheet.write_formula(row, column, formula, style["number"], values[name])
            formula = f"={cells['E_total']}"
            sheet.write_formula(row, curve, formula, style["number"], values["E_total"])
            before = cells
