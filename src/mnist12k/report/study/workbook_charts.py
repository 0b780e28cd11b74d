"""The workbook's charts: the network, and the loss curves."""

from collections.abc import Iterable, Mapping
from typing import Any

from xlsxwriter import Workbook
from xlsxwriter.chart import Chart
from xlsxwriter.worksheet import Worksheet

from mnist12k.backprop.study import STEP_COLUMNS
from mnist12k.report.figures.layout import EDGES, PLACES, label_place, point_on
from mnist12k.report.study.formulas import WEIGHTS

CHART_COLUMNS = 10  # covered by a chart
ENDS = (0.1, 0.9)  # fractions of an edge at which its arrow starts and ends, clear of the nodes


def add_charts(
    workbook: Workbook, sheets: Mapping[str, Worksheet], curves: int, iterations: int
) -> None:
    """Add the network and one loss curve to sheet Network, and `curves` of them to Rates."""
    sheets["Network"].insert_chart("H4", _network_chart(workbook))
    loss = _loss_chart(workbook, "Loss at the learning rate η", iterations)
    column = 1 + STEP_COLUMNS.index("E_total")
    loss.add_series(
        {
            "categories": ["Descent", 3, 0, 3 + iterations, 0],
            "values": ["Descent", 3, column, 3 + iterations, column],
        }
    )
    loss.set_legend({"none": True})
    sheets["Network"].insert_chart("H22", loss)
    loss = _loss_chart(workbook, "Loss at each learning rate", iterations)
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
    """Draw the network as a scatter chart: points for nodes and labels, lines for edges."""
    data = workbook.add_worksheet("Drawing")
    data.hide()
    data.write_row(0, 0, ["name", "x", "y"])
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

    def series(first: int, count: int, style: dict[str, Any]) -> None:
        last = first + count - 1
        places = {"categories": ["Drawing", first, 1, last, 1]}
        chart.add_series(places | {"values": ["Drawing", first, 2, last, 2]} | style)

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
    chart.set_title({"name": "Network", "name_font": {"size": 12}})
    chart.set_size({"width": 620, "height": 340})
    return chart
