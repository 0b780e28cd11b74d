"""What the page shows and computes of the 2-2-2 network."""

from typing import Any

import numpy as np

from mnist12k.backprop.errata import (
    MAZUR_LEARNING_RATE,
    MAZUR_PUBLISHED_LOSS,
    loss_after_output_layer_first,
    workbook_gradients,
    workbook_losses,
)
from mnist12k.backprop.layout import EDGES, PLACES, label_place
from mnist12k.backprop.network import Network
from mnist12k.backprop.study import loss_curves, trajectory
from mnist12k.params import Backprop
from mnist12k.params import Network as Given
from mnist12k.report.tables import Table, column
from mnist12k.report.worked_steps import worked_steps

LEFT, TOP, WIDTH, HEIGHT = 40, 48, 150, 190  # of the drawing: its first node, and between nodes


def shown_backprop(study: Backprop, metrics: dict[str, Any]) -> dict[str, Any]:
    """Return what the template needs: the steps, the drawing, the figures and the errata."""
    return {
        "study": study,
        "steps": worked_steps(_network(_studied(study))),
        "nodes": {name: _place(place) for name, place in PLACES.items()},
        "edges": [
            {"ends": (_place(PLACES[tail]), _place(PLACES[head])), "label": _place(label)}
            for tail, head in EDGES
            for label in [label_place((tail, head))]
        ],
        "deviation": metrics["largest_deviation"],
        "hill": metrics["hill"],
        "errata": _errata(study),
    }


def data_backprop(study: Backprop, losses: Table, hill: Table) -> dict[str, Any]:
    """Return what the scripts need: the network to start from, and the curves that were found."""
    given = _studied(study)
    rates = list(dict.fromkeys(column(losses, "learning_rate")))
    return {
        **given.model_dump(include={"inputs", "targets", "weights", "biases"}),
        "rate": study.worksheet_learning_rate,
        "iterations": study.iterations,
        "losses": [
            {
                "rate": rate,
                "loss": [
                    float(row["loss"]) for row in losses if float(row["learning_rate"]) == rate
                ],
            }
            for rate in rates
        ],
        "hill": {
            name: column(hill, name)
            for name in ("learning_rate", "updates_needed", "loss_after_1", "loss_after_study")
        },
    }


def _studied(study: Backprop) -> Given:
    return {"seed": study.presets.seed, "mazur": study.presets.mazur}.get(study.preset, study)


def _network(given: Given) -> Network:
    return Network(given.inputs, given.targets, given.weights, given.biases)


def _place(place: tuple[float, float]) -> tuple[float, float]:
    """Turn the layout's place, y upwards, into the drawing's, y downwards."""
    return round(LEFT + WIDTH * place[0], 1), round(TOP + HEIGHT * (1 - place[1]), 1)


def _errata(study: Backprop) -> dict[str, Any]:
    seed, mazur = _network(study.presets.seed), _network(study.presets.mazur)
    first = trajectory(seed, 0.0, 0)[0]
    wrong = workbook_gradients(seed, first.weights, first.passed)
    losses = loss_curves(seed, study.learning_rates, study.iterations)[-1]
    mistaken = workbook_losses(seed, study.learning_rates, study.iterations)
    return {
        "gradients": [
            (k + 1, f"{first.gradients[k]:.10g}", f"{wrong[k]:.10g}")
            for k in np.flatnonzero(first.gradients != wrong).tolist()
        ],
        "largest": f"{abs(losses - mistaken).max():.1e}",
        "mazur_rate": MAZUR_LEARNING_RATE,
        "mazur_right": f"{loss_curves(mazur, [MAZUR_LEARNING_RATE], 1)[1, 0]:.10f}",
        "mazur_wrong": f"{loss_after_output_layer_first(mazur, MAZUR_LEARNING_RATE):.10f}",
        "mazur_published": f"{MAZUR_PUBLISHED_LOSS:.9f}",
    }
