"""The study as a workbook of live formulas: change a yellow cell, and everything follows.

The cells' formulas and the text beside them both come from `formulas`, so that neither can
tell another story.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from xlsxwriter import Workbook
from xlsxwriter.chart import Chart
from xlsxwriter.format import Format
from xlsxwriter.utility import xl_rowcol_to_cell
from xlsxwriter.worksheet import Worksheet

from mnist12k.backprop.formulas import FORMULAS, GRADIENTS, WEIGHTS, named
from mnist12k.backprop.layout import EDGES, PLACES, label_place, point_on
from mnist12k.backprop.network import Forward, Network
from mnist12k.backprop.study import STEP_COLUMNS, Step, trajectory

GIVEN = ("i1", "i2", "t1", "t2", *WEIGHTS, "b1", "b2", "η")
ITERATION = (  # as it stands on the first sheet
    ("Step 1: forward pass and loss", Forward._fields),
    ("Steps 2 and 3: gradients of the output layer", GRADIENTS[4:]),
    ("Steps 4 to 6: gradients of the hidden layer", GRADIENTS[:4]),
    ("Step 7: update", tuple(f"new_{w}" for w in WEIGHTS)),
)
CURVE_COLUMNS = (*WEIGHTS, *Forward._fields)
ENDS = (0.1, 0.9)  # where along an edge its arrow starts and ends, clear of the nodes
MOST_ITERATIONS = 500  # of any study: a spreadsheet of formulas is to be read, not to be run
CHART_COLUMNS = 10  # as many as a chart covers

Cells = dict[str, str]  # a quantity's name -> its cell


def write_workbook(
    path: Path,
    network: Network,
    learning_rates: Sequence[float],
    worksheet_learning_rate: float,
    iterations: int,
) -> None:
    """Write the workbook to `path`, byte for byte the same from the same arguments.

    Sheets: "Network" (what is given, and one iteration step by step), "Descent" (every number
    of every iteration at one rate), "Rates" (a loss curve for each rate, from its own cell);
    the first 500 iterations of longer studies.
    Each cell also holds the value that Python computes, for viewers that do not calculate.
    """
    iterations = min(iterations, MOST_ITERATIONS)
    path_down = trajectory(network, worksheet_learning_rate, iterations + 1)
    with Workbook(str(path)) as workbook:
        workbook.set_properties({"title": "The 2-2-2 network", "created": datetime(2000, 1, 1)})
        style = _styles(workbook)
        sheets = {name: workbook.add_worksheet(name) for name in ("Network", "Descent", "Rates")}
        given = _write_given(sheets["Network"], style, network, worksheet_learning_rate)
        _write_iteration(sheets["Network"], style, network, given, path_down[:2])
        _write_descent(sheets["Descent"], style, network, given, path_down[:-1])
        _write_rates(sheets["Rates"], style, network, given, learning_rates, iterations)
        _add_charts(workbook, sheets, len(learning_rates), iterations)
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
    """Put cells in the place of names."""
    return "=" + "".join(cells.get(part, part) for part in _parts(expression))


@cache
def _parts(expression: str) -> list[str]:
    """Split at every name, with a sigmoid that does not overflow in the place of sigmoid()."""
    stable = r"IF(\1>=0,1/(1+EXP(-\1)),EXP(\1)/(1+EXP(\1)))"
    spelled_out = re.sub(r"sigmoid\((\w+)\)", stable, expression)
    return re.split(r"([A-Za-zη]\w*)", spelled_out.replace(" ", ""))


def _write_given(
    sheet: Worksheet, style: dict[str, Format], network: Network, learning_rate: float
) -> Cells:
    """Write the yellow cells; return where each is, seen from any sheet."""
    sheet.write(0, 0, "The 2-2-2 network, by hand", style["title"])
    sheet.write(1, 0, "Change a yellow cell, and all sheets follow.", style["note"])
    sheet.write(3, 0, "Given", style["section"])
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
    network: Network,
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
    network: Network,
    given: Cells,
    path_down: Sequence[Step],
) -> None:
    sheet.write(0, 0, "Every number of every iteration, at the η of sheet Network", style["title"])
    sheet.set_row(1, 100)
    sheet.set_column(1, len(STEP_COLUMNS), 13)
    sheet.freeze_panes(3, 1)
    sheet.write(2, 0, "iteration", style["head"])
    for column, name in enumerate(STEP_COLUMNS, start=1):
        text = FORMULAS.get(name) or (f"{name} - η * dE_d{name}" if name in WEIGHTS else "given")
        sheet.write_string(1, column, text, style["formula_above"])
        sheet.write(2, column, name, style["head"])
    before: Cells = {}
    for iteration, step in enumerate(path_down):
        row = iteration + 3
        here = {name: xl_rowcol_to_cell(row, 1 + k) for k, name in enumerate(STEP_COLUMNS)}
        values = named(network, step)
        sheet.write(row, 0, iteration)
        for column, name in enumerate(STEP_COLUMNS, start=1):
            if name in FORMULAS:
                formula = _formula(FORMULAS[name], given | here)
            elif name in WEIGHTS and before:
                formula = _formula(FORMULAS[f"new_{name}"], given | before)
            else:
                formula = f"={given[name]}"
            sheet.write_formula(row, column, formula, style["number"], values[name])
        before = here


def _write_rates(
    sheet: Worksheet,
    style: dict[str, Format],
    network: Network,
    given: Cells,
    learning_rates: Sequence[float],
    iterations: int,
) -> None:
    """Write the curves side by side, and right of their chart what each is computed from."""
    sheet.write(0, 0, "The loss at each learning rate, computed from its own cell", style["title"])
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
            here = {name: xl_rowcol_to_cell(row, first + k) for k, name in enumerate(CURVE_COLUMNS)}
            values = named(network, step)
            for column, name in enumerate(CURVE_COLUMNS, start=first):
                if name in FORMULAS:
                    formula = _formula(FORMULAS[name], given | here)
                elif before:
                    update = f"{name} - η * {FORMULAS[f'dE_d{name}']}"
                    formula = _formula(update, given | before | {"η": rate_cell})
                else:
                    formula = f"={given[name]}"
                sheet.write_formula(row, column, formula, style["number"], values[name])
            formula = f"={here['E_total']}"
            sheet.write_formula(row, curve, formula, style["number"], values["E_total"])
            before = here


def _add_charts(
    workbook: Workbook, sheets: Mapping[str, Worksheet], curves: int, iterations: int
) -> None:
    sheets["Network"].insert_chart("H4", _network_chart(workbook))
    loss = _loss_chart(workbook, "The loss at the η given here", iterations)
    column = 1 + STEP_COLUMNS.index("E_total")
    loss.add_series(
        {
            "categories": ["Descent", 3, 0, 3 + iterations, 0],
            "values": ["Descent", 3, column, 3 + iterations, column],
        }
    )
    loss.set_legend({"none": True})
    sheets["Network"].insert_chart("H22", loss)
    loss = _loss_chart(workbook, "The loss at each learning rate", iterations)
    for curve in range(1, curves + 1):
        loss.add_series(
            {
                "name": ["Rates", 2, curve],
                "categories": ["Rates", 4, 0, 4 + iterations, 0],
                "values": ["Rates", 4, curve, 4 + iterations, curve],
            }
        )
    sheets["Rates"].insert_chart(4, curves + 2, loss)


def _loss_chart(workbook: Workbook, title: str, iterations: int) -> Chart:
    chart = workbook.add_chart({"type": "scatter", "subtype": "straight"})
    chart.set_title({"name": title, "name_font": {"size": 12}})
    chart.set_x_axis({"name": "updates", "min": 0, "max": iterations})
    grid = {"visible": True, "line": {"color": "#DDDDDD"}}
    chart.set_y_axis({"name": "total loss", "min": 0, "major_gridlines": grid})
    chart.set_size({"width": 620, "height": 360})
    return chart


def _network_chart(workbook: Workbook) -> Chart:
    """Draw the network as a scatter chart: 6 nodes, 8 edges, and a point at each edge's name."""
    data = workbook.add_worksheet("Drawing")
    data.hide()
    data.write_row(0, 0, ["what", "x", "y"])
    points = [
        *((name, *place) for name, place in PLACES.items()),
        *((w, *label_place(edge)) for w, edge in zip(WEIGHTS, EDGES, strict=True)),
        *(
            (w, *point_on(edge, end))
            for w, edge in zip(WEIGHTS, EDGES, strict=True)
            for end in ENDS
        ),
    ]
    for row, point in enumerate(points, start=1):
        data.write_row(row, 0, point)
    chart = workbook.add_chart({"type": "scatter", "subtype": "straight"})

    def series(first: int, count: int, look: dict[str, Any]) -> None:
        last = first + count - 1
        places = {"categories": ["Drawing", first, 1, last, 1]}
        chart.add_series(places | {"values": ["Drawing", first, 2, last, 2]} | look)

    def labels(names: Iterable[str], position: str) -> dict[str, Any]:
        custom = [{"value": name} for name in names]
        return {"value": True, "custom": custom, "position": position, "font": {"bold": True}}

    for edge in range(len(EDGES)):
        line = {"color": "#777777", "width": 1.25, "end_arrow_type": "open"}
        series(15 + 2 * edge, 2, {"line": line})
    dot = {
        "type": "circle",
        "size": 34,
        "fill": {"color": "#DCE9F7"},
        "border": {"color": "#555555"},
    }
    nothing = {"type": "none"}
    series(1, 6, {"line": {"none": True}, "marker": dot, "data_labels": labels(PLACES, "center")})
    series(
        7, 8, {"line": {"none": True}, "marker": nothing, "data_labels": labels(WEIGHTS, "above")}
    )
    hidden = {"visible": False, "major_gridlines": {"visible": False}}
    chart.set_x_axis({"min": -0.2, "max": 2.2, **hidden})
    chart.set_y_axis({"min": -0.3, "max": 1.3, **hidden})
    chart.set_legend({"none": True})
    chart.show_hidden_data()
    chart.set_title({"name": "The network", "name_font": {"size": 12}})
    chart.set_size({"width": 620, "height": 340})
    return chart
