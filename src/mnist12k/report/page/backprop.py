"""The 2-2-2 network on the page: derivation, diagram, curves and errata."""

from itertools import product
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from mnist12k.backprop.hill import RATES
from mnist12k.backprop.settings import Backprop, SmallNetwork
from mnist12k.files import damaged
from mnist12k.outputs import HILL, LOSSES, BackpropMetrics
from mnist12k.report.figures.layout import EDGES, PLACES, label_place
from mnist12k.report.page.render import columns
from mnist12k.report.study.errata import errata
from mnist12k.report.study.notation import NAME, html, html_symbol, html_text
from mnist12k.report.study.steps import STEPS, DerivationStep

LEFT, TOP, WIDTH, HEIGHT = 40, 48, 150, 190  # of the diagram: its first node, between nodes


class Line(NamedTuple):
    """One quantity, its formula, and the same with elements that a script fills with numbers."""

    name: str
    symbol: Markup
    formula: Markup
    with_numbers: Markup | None  # None for a formula that is just a name


def backprop_content(study: Backprop, metrics: BackpropMetrics) -> dict[str, Any]:
    """Return what the template shows."""
    _, network = study.studied()
    return {
        "study": study,
        "steps": [
            {"title": step.title, "text": html_text(step.text), "lines": lines(step, network)}
            for step in STEPS
        ],
        "nodes": {name: _position(place) for name, place in PLACES.items()},
        "edges": [
            {
                "ends": (_position(PLACES[edge[0]]), _position(PLACES[edge[1]])),
                "label": _position(label_place(edge)),
            }
            for edge in EDGES
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
    return {
        **network.model_dump(),
        "rate": study.worksheet_learning_rate,
        "iterations": study.iterations,
        "losses": [
            {"rate": rate, "loss": curve["loss"].tolist()}
            for rate, curve in losses.groupby("learning_rate", sort=False)
        ],
        "hill": columns(
            hill[["learning_rate", "updates_needed", "loss_after_1", "loss_after_study"]]
        ),
    }


def lines(step: DerivationStep, network: SmallNetwork) -> list[Line]:
    """Return a step's lines as HTML."""
    return [
        Line(
            name,
            html_symbol(name),
            html(formula),
            None if NAME.fullmatch(formula) else html(formula, _number),
        )
        for name, formula in step.lines(network)
    ]


def _number(name: str) -> Markup:
    if name == "sigmoid":
        return html_symbol(name)
    return Markup('<span data-number="{}"></span>').format(name)


def _position(place: tuple[float, float]) -> tuple[float, float]:
    """Map the layout's coordinates, y upwards, to the diagram's, y downwards."""
    return round(LEFT + WIDTH * place[0], 1), round(TOP + HEIGHT * (1 - place[1]), 1)
