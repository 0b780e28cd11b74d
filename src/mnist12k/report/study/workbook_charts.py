"""The workbook's charts: the network, and the loss curves."""

from collections.abc import Mapping
from typing import Any

from xlsxwriter import Workbook
from xlsxwriter.chart import Chart
from xlsxwriter.worksheet import Worksheet

from mnist12k.backprop.study import STEP_COLUMNS
from mnist12k.report.figures.layout import EDGES, NODES, edge_point, label_position
from mnist12k.report.study.formulas import WEIGHTS

CHART_COLUMNS = 10  # covered by a chart
ENDS = (0.1, 0.9)  # fractions of an edge at which its arrow starts and ends, clear of the nodes


def add_charts(
    workbook: Workbook,
    sheets: Mapping[str, Worksheet],
    curves: int,
    iterations: int,
    cells: Mapping[str, str],
    numbers: Mapping[str, float],
) -> None:
    """Add the network and one loss curve to sheet Network, and `curves` of them to Rates.

    `cells` are those of the numbers on the drawn network, `numbers` their values.
    """
    sheets["Network"].insert_chart("H4", _network_chart(workbook, cells, numbers))
    loss = _loss_chart(workbook, "Loss at the learning rate η", iterations)
    _add_series(loss, "Descent", 3, iterations + 1, 0, 1 + STEP_COLUMNS.index("E_total"))
    loss.set_legend({"none": True})
    sheets["Network"].insert_chart("H22", loss)
    loss = _loss_chart(workbook, "Loss at each learning rate", iterations)
    for curve in range(1, curves + 1):
        _add_series(loss, "Rates", 4, iterations + 1, 0, curve, name=["Rates", 2, curve])
    sheets["Rates"].insert_chart(4, curves + 2, loss)


def _loss_chart(workbook: Workbook, title: str, iterations: int) -> Chart:
    chart = workbook.add_chart({"type": "scatter", "subtype": "straight"})
    chart.set_title({"name": title, "name_font": {"size": 12}})
    chart.set_x_axis({"name": "updates", "min": 0, "max": iterations})
    grid = {"visible": True, "line": {"color": "#DDDDDD"}}
    chart.set_y_axis({"name": "total loss", "min": 0, "major_gridlines": grid})
    chart.set_size({"width": 620, "height": 360})
    return chart


def _network_chart(
    workbook: Workbook, cells: Mapping[str, str], numbers: Mapping[str, float]
) -> Chart:
    """Draw the network as a scatter chart: points for nodes and labels, lines for edges.

    Labels are formulas, so that they follow the numbers.
    """
    data = workbook.add_worksheet("Drawing")
    data.hide()
    data.write_row(0, 0, ["name", "x", "y", "label"])
    edges = list(zip(WEIGHTS, EDGES, strict=True))
    points = [
        *((name, *position) for name, position in NODES.items()),
        *((weight, *label_position(edge)) for weight, edge in edges),
        *((weight, *edge_point(edge, end)) for weight, edge in edges for end in ENDS),
    ]
    for row, point in enumerate(points, start=1):
        data.write_row(row, 0, point)
    for row, name in enumerate((*NODES, *WEIGHTS), start=1):
        number = name if name in (*WEIGHTS, "i1", "i2") else f"a_{name}"
        value = f"{number} = {round(numbers[number], 4):g}"
        data.write_formula(row, 3, f'="{number} = "&ROUND({cells[number]},4)', None, value)
    chart = workbook.add_chart({"type": "scatter", "subtype": "straight"})
    arrow = {"color": "#777777", "width": 1.25, "end_arrow_type": "open"}
    for row in range(15, 31, 2):
        _add_series(chart, "Drawing", row, 2, 1, 2, line=arrow)
    border, fill = {"color": "#555555"}, {"color": "#DCE9F7"}
    dots = {"type": "circle", "size": 44, "fill": fill, "border": border}
    for row, names, marker, position in (
        (1, NODES, dots, "center"),
        (7, WEIGHTS, {"type": "none"}, "above"),
    ):
        custom = [{"value": f"=Drawing!$D${row + k + 1}"} for k in range(len(names))]
        labels = {"value": True, "custom": custom, "position": position, "font": {"bold": True}}
        style = {"line": {"none": True}, "marker": marker, "data_labels": labels}
        _add_series(chart, "Drawing", row, len(custom), 1, 2, **style)
    hidden = {"visible": False, "major_gridlines": {"visible": False}}
    chart.set_x_axis({"min": -0.2, "max": 2.2, **hidden})
    chart.set_y_axis({"min": -0.3, "max": 1.3, **hidden})
    chart.set_legend({"none": True})
    chart.show_hidden_data()
    chart.set_title({"name": "Network", "name_font": {"size": 12}})
    chart.set_size({"width": 620, "height": 340})
    return chart


def _add_series(
    chart: Chart, sheet: str, top: int, rows: int, x: int, y: int, **options: Any
) -> None:
    """Add the columns `x` and `y` of a sheet, from row `top` on."""
    cells = {
        "categories": [sheet, top, x, top + rows - 1, x],
        "values": [sheet, top, y, top + rows - 1, y],
    }
    chart.add_series(cells | options)
