"""The 2-2-2 network on the page: derivation, diagram, curves and errata."""

from itertools import product
from typing import Any

import pandas as pd
from markupsafe import Markup

from mnist12k.backprop.hill import RATES
from mnist12k.backprop.settings import Backprop, SmallNetwork
from mnist12k.files import damaged
from mnist12k.outputs import HILL, LOSSES, BackpropMetrics
from mnist12k.report.figures.layout import EDGES, NODES, label_position
from mnist12k.report.page.render import columns
from mnist12k.report.study.errata import errata
from mnist12k.report.study.formulas import STEPS, DerivationStep
from mnist12k.report.study.notation import NAME, html, html_symbol, html_text

LEFT, TOP, WIDTH, HEIGHT = 40, 48, 150, 190  # of the diagram: its first node, between nodes


def backprop_content(study: Backprop, metrics: BackpropMetrics) -> dict[str, Any]:
    """Return what the template shows."""
    _, network = study.studied()
    nodes = {name: _position(*place) for name, place in NODES.items()}
    return {
        "study": study,
        "steps": [
            {"title": step.title, "text": html_text(step.text), "lines": lines(step, network)}
            for step in STEPS
        ],
        "nodes": nodes,
        "edges": [
            {"ends": (nodes[tail], nodes[head]), "label": _position(*label_position((tail, head)))}
            for tail, head in EDGES
        ],
        "deviation": metrics.largest_deviation,
        "hill": metrics.hill,
        "errata": [
            erratum._replace(
                text=html_text(erratum.text),
                rows=tuple(tuple(map(html_text, row)) for row in erratum.rows),
            )
            for erratum in errata(study)
        ],
    }


def backprop_data(study: Backprop, losses: pd.DataFrame, hill: pd.DataFrame) -> dict[str, Any]:
    """Return what the scripts need: the network to start from, and the study's curves.

    Raises UserError if a table does not have the rows of this study.
    """
    _, network = study.studied()
    expected = product(study.learning_rates, range(study.iterations + 1))
    if list(zip(losses["learning_rate"], losses["iteration"], strict=True)) != list(expected):
        raise damaged(LOSSES, "it should have every iteration at every learning rate")
    if len(hill) != len(RATES):
        raise damaged(HILL, f"it should have {len(RATES)} rows")
    curves = losses.groupby("learning_rate", sort=False)["loss"]
    hill_columns = ["learning_rate", "updates_needed", "loss_after_1", "loss_after_study"]
    return {
        **network.model_dump(),
        "rate": study.worksheet_learning_rate,
        "iterations": study.iterations,
        "losses": [{"rate": rate, "loss": curve.tolist()} for rate, curve in curves],
        "hill": columns(hill[hill_columns]),
    }


def lines(step: DerivationStep, network: SmallNetwork) -> list[dict[str, Any]]:
    """Return a step's quantities and their formulas as HTML.

    `with_numbers` has elements that a script fills with numbers; None if the formula is one name.
    """
    return [
        {
            "name": name,
            "symbol": html_symbol(name),
            "formula": html(formula),
            "with_numbers": None if NAME.fullmatch(formula) else html(formula, _number),
        }
        for name, formula in step.lines(network)
    ]


def _number(name: str) -> Markup:
    if name == "sigmoid":
        return html_symbol(name)
    return Markup('<span data-number="{}"></span>').format(name)


def _position(x: float, y: float) -> tuple[float, float]:
    """Map the layout's coordinates, y upwards, to the diagram's, y downwards."""
    return round(LEFT + WIDTH * x, 1), round(TOP + HEIGHT * (1 - y), 1)
