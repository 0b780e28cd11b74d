"""The 2-2-2 network on the page: the lab's presets, derivation, diagram, curves and errata."""

import math
from itertools import product
from typing import Any

import pandas as pd
from markupsafe import Markup

from mnist12k.backprop.hill import PATIENCE, RATES, TARGET_LOSS
from mnist12k.backprop.settings import Backprop, SmallNetwork
from mnist12k.files import damaged
from mnist12k.outputs import HILL, LOSSES, BackpropMetrics
from mnist12k.report.figures.layout import EDGES, NODES, label_position
from mnist12k.report.page.render import brief, columns, short
from mnist12k.report.study.conclusions import below_limit, beyond_saturation, without_target
from mnist12k.report.study.errata import errata
from mnist12k.report.study.formulas import (
    STEPS,
    WEIGHTS,
    DerivationStep,
    Numbers,
    first_iteration,
)
from mnist12k.report.study.notation import NAME, html, html_symbol, html_text
from mnist12k.report.study.regimes import regimes

LEFT, TOP, WIDTH, HEIGHT = 40, 72, 150, 190  # of the diagram: its first node, between nodes
RADIUS, HEAD = 32, 9  # of a node, of an arrow's head
FLOOR = 1e-12  # lower losses are drawn here

# Both outputs start at an end of the sigmoid, far from their targets.
SATURATED = SmallNetwork(
    inputs=(0.05, 0.10),
    targets=(0.01, 0.99),
    weights=(0.15, 0.20, 0.25, 0.30, 9.0, 9.0, -9.0, -9.0),
    biases=(0.0, 0.0),
)


def backprop_content(
    study: Backprop, metrics: BackpropMetrics, hill: pd.DataFrame
) -> dict[str, Any]:
    """Return what the template shows; `hill` is the sweep's table."""
    _, network = study.studied()
    numbers = first_iteration(network, study.worksheet_learning_rate)
    rates, needed, stable = (
        hill[name].to_numpy() for name in ("learning_rate", "updates_needed", "stable_below")
    )
    nodes = {name: _position(*place) for name, place in NODES.items()}
    return {
        "study": study,
        "numbers": numbers,
        "edge_classes": [edge_class(numbers[f"dE_dw{k}"]) for k in range(1, 9)],
        "steps": [
            {"title": step.title, "text": html_text(step.text), "lines": lines(step, numbers)}
            for step in STEPS
        ],
        "nodes": nodes,
        "edges": [
            {
                "ends": _shortened(nodes[tail], nodes[head]),
                "label": _position(*label_position((tail, head))),
            }
            for tail, head in EDGES
        ],
        "deviation": metrics.largest_deviation,
        "hill": metrics.hill,
        "presets": [name for name, _ in presets(study)],
        "marks": marks(study, metrics),
        "target_loss": f"{TARGET_LOSS:g}",
        "beyond_saturation": metrics.hill.saturation
        and beyond_saturation(rates, needed, metrics.hill.saturation),
        "without_target": without_target(needed),
        "below_limit": below_limit(rates, stable),
        "drawn_at_floor": bool((hill[["loss_after_1", "loss_after_study"]] < FLOOR).any(axis=None)),
        "rates": {"count": len(RATES), "lowest": short(RATES[0]), "highest": short(RATES[-1])},
        "regimes": regimes(metrics.hill),
        "fields": {
            name: f"{numbers[name]:.15g}" for name in ("i1", "i2", "t1", "t2", "b1", "b2", *WEIGHTS)
        },
        "errata": [
            erratum._replace(
                text=html_text(erratum.text),
                rows=tuple(tuple(map(html_text, row)) for row in erratum.rows),
            )
            for erratum in errata(study)
        ],
    }


def backprop_data(
    study: Backprop, metrics: BackpropMetrics, losses: pd.DataFrame, hill: pd.DataFrame
) -> dict[str, Any]:
    """Return what the scripts need: the networks to start from, and the study's curves.

    Raises UserError if a table does not have the rows of this study.
    """
    expected = product(study.learning_rates, range(study.iterations + 1))
    if list(zip(losses["learning_rate"], losses["iteration"], strict=True)) != list(expected):
        raise damaged(LOSSES, "it should have every iteration at every learning rate")
    if len(hill) != len(RATES):
        raise damaged(HILL, f"it should have {len(RATES)} rows")
    curves = losses.groupby("learning_rate", sort=False)["loss"]
    hill_columns = [
        *("learning_rate", "updates_needed", "loss_after_1", "loss_after_study", "stable_below")
    ]
    return {
        "presets": {name: network.model_dump() for name, network in presets(study)},
        "rate": study.worksheet_learning_rate,
        "iterations": study.iterations,
        "floor": FLOOR,
        "patience": PATIENCE,
        "target_loss": TARGET_LOSS,
        "losses": [{"rate": rate, "loss": curve.tolist()} for rate, curve in curves],
        "hill": columns(hill[hill_columns]),
        "edges": metrics.hill.model_dump(),
        "marks": marks(study, metrics),
    }


def presets(study: Backprop) -> list[tuple[str, SmallNetwork]]:
    """Return the networks that the lab offers, the studied one first, each with its name."""
    chosen, network = study.studied()
    names = {"own": "params.yaml's", "reference": "the write-up's", "mazur": "Mazur's"}
    published = {names[name]: each for name, each in study.presets.by_name().items()}
    return list(({names[chosen]: network} | published | {"a saturated start": SATURATED}).items())


def marks(study: Backprop, metrics: BackpropMetrics) -> list[dict[str, Any]]:
    """Return the rates marked on the slider: those studied, then the edges of the hill."""
    edges = [
        ("fastest", metrics.hill.fastest),
        ("2/λmax", metrics.hill.stable_below),
        ("first update no longer helps", metrics.hill.first_step_edge),
        ("saturates", metrics.hill.saturation),
    ]
    studied = [{"rate": rate, "name": ""} for rate in study.learning_rates]
    return studied + [{"rate": rate, "name": name} for name, rate in edges if rate is not None]


def lines(step: DerivationStep, numbers: Numbers) -> list[dict[str, Any]]:
    """Return a step's quantities and their formulas as HTML, filled with the numbers.

    `with_numbers` has elements that a script fills anew; None if the formula is one name. `parts`
    names what the formula is made of. Biases of 0 are hidden.
    """
    return [
        {
            "name": name,
            "symbol": html_symbol(name),
            "formula": _with_bias(formula, numbers),
            "with_numbers": None
            if NAME.fullmatch(formula)
            else _with_bias(formula, numbers, in_numbers=True),
            "parts": " ".join(dict.fromkeys([*NAME.findall(formula), name])),
            "value": numbers[name],
        }
        for name, formula in step.formulas().items()
    ]


def edge_class(slope: float) -> str:
    """Return the class of a weight's edge: the direction in which descent moves the weight."""
    return "still" if slope == 0 else "down" if slope > 0 else "up"


def _with_bias(formula: str, numbers: Numbers, *, in_numbers: bool = False) -> Markup:
    def write(text: str) -> Markup:
        return html(text, lambda name: _number(name, numbers)) if in_numbers else html(text)

    weighted, plus, number = formula.partition(" + b")
    if not plus:
        return write(formula)
    bias = f"b{number}"
    shown, hidden = (
        Markup('<span data-bias="{}"> + {}</span>'),
        Markup('<span data-bias="{}" hidden> + {}</span>'),
    )
    return write(weighted) + (shown if numbers[bias] else hidden).format(bias, write(bias))


def _number(name: str, numbers: Numbers) -> Markup:
    if name == "sigmoid":
        return html_symbol(name)
    text = bracketed(numbers[name])
    return Markup('<span data-number="{}">{}</span>').format(name, text)


def bracketed(value: float) -> str:
    """Return a number within a formula."""
    text = brief(value, 6)
    return f"({text})" if value < 0 or "·" in text else text


def _position(x: float, y: float) -> tuple[float, float]:
    """Map the layout's coordinates, y upwards, to the diagram's, y downwards."""
    return round(LEFT + WIDTH * x, 1), round(TOP + HEIGHT * (1 - y), 1)


def _shortened(
    tail: tuple[float, float], head: tuple[float, float]
) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Return where an edge leaves its tail, where its arrow's head begins, and its angle (°)."""
    dx, dy = head[0] - tail[0], head[1] - tail[1]
    length = math.hypot(dx, dy)

    def point(distance: float) -> tuple[float, float]:
        return (
            round(tail[0] + dx * distance / length, 1),
            round(tail[1] + dy * distance / length, 1),
        )

    ends = point(RADIUS), point(length - RADIUS - HEAD)
    return *ends, round(math.degrees(math.atan2(dy, dx)), 1)
