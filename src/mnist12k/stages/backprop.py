"""The learning-rate study of the 2-2-2 network."""

import numpy as np
import pandas as pd

from mnist12k.backprop.hill import Hill, find_hill, sweep
from mnist12k.backprop.network import Array
from mnist12k.backprop.proof import Deviation, deviation
from mnist12k.backprop.settings import Backprop, SmallNetwork
from mnist12k.backprop.study import STEP_COLUMNS, loss_curves, steps, trajectory
from mnist12k.files import atomic_write, write_json, write_table, write_text
from mnist12k.outputs import (
    BACKPROP_METRICS,
    HILL,
    LOSSES,
    BackpropMetrics,
    HillEdges,
    LargestDeviation,
)
from mnist12k.paths import BACKPROP_REPORTS
from mnist12k.report.figures.hill import draw_hill
from mnist12k.report.figures.learning_rates import draw_loss_by_learning_rate
from mnist12k.report.figures.network_diagram import draw_network
from mnist12k.report.study.derivation import write_derivation
from mnist12k.report.study.workbook import write_workbook

Deviations = dict[tuple[str, float], Deviation]


def run(study: Backprop) -> None:
    """Descend at every learning rate, check every number, and write reports/backprop."""
    name, network = study.studied()
    rates, iterations = study.learning_rates, study.iterations
    losses = loss_curves(network, rates, iterations)
    deviations = _deviations(study, name, network)
    swept = sweep(network, iterations)
    hill = find_hill(network, iterations, swept)

    write_table(LOSSES, _curves(study, losses))
    write_table(
        BACKPROP_REPORTS / "steps.csv",
        pd.DataFrame(
            steps(network, study.worksheet_learning_rate, iterations), columns=list(STEP_COLUMNS)
        ),
    )
    write_table(BACKPROP_REPORTS / "gradient_check.csv", _check(deviations, iterations))
    write_table(HILL, pd.DataFrame(swept._asdict()))
    write_json(BACKPROP_METRICS, _metrics(study, losses, deviations, hill))

    first = trajectory(network, study.worksheet_learning_rate, 0)[0]
    draw_network(network, first, BACKPROP_REPORTS / "network.png")
    draw_loss_by_learning_rate(rates, losses, BACKPROP_REPORTS / "loss_by_learning_rate.png")
    draw_hill(swept, hill, iterations, max(rates), BACKPROP_REPORTS / "hill.png")
    write_text(
        BACKPROP_REPORTS / "derivation.md", write_derivation(study, losses, deviations, swept, hill)
    )
    with atomic_write(BACKPROP_REPORTS / "backprop.xlsx") as temporary:
        write_workbook(temporary, network, rates, study.worksheet_learning_rate, iterations)
    for rate, loss in zip(rates, losses[-1], strict=True):
        print(f"{name}, learning rate {rate:g}: loss {losses[0, 0]:.9f} -> {loss:.9f}")


def _deviations(study: Backprop, name: str, network: SmallNetwork) -> Deviations:
    """Check the studied network and the presets at every learning rate."""
    checked = {name: network} | study.presets.by_name()
    return {
        (key, rate): deviation(each, rate, study.iterations)
        for key, each in checked.items()
        for rate in study.learning_rates
    }


def _curves(study: Backprop, losses: Array) -> pd.DataFrame:
    table = pd.DataFrame(losses, columns=list(study.learning_rates))
    return (
        table.rename_axis("iteration")
        .reset_index()
        .melt(id_vars="iteration", var_name="learning_rate", value_name="loss")[
            ["learning_rate", "iteration", "loss"]
        ]
    )


def _check(deviations: Deviations, iterations: int) -> pd.DataFrame:
    rows = [(*key, iterations, *values) for key, values in deviations.items()]
    return pd.DataFrame(
        rows, columns=["network", "learning_rate", "iterations", *Deviation._fields]
    )


def _metrics(study: Backprop, losses: Array, deviations: Deviations, hill: Hill) -> BackpropMetrics:
    largest = np.max(list(deviations.values()), axis=0).tolist()
    rates = map(str, study.learning_rates)
    return BackpropMetrics(
        loss_before=losses[0, 0].item(),
        loss_after=dict(zip(rates, losses[-1].tolist(), strict=True)),
        largest_deviation=LargestDeviation(**dict(zip(Deviation._fields, largest, strict=True))),
        hill=HillEdges(**hill._asdict()),
    )
