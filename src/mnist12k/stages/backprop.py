"""The learning-rate study of the 2-2-2 network."""

import numpy as np
import pandas as pd

from mnist12k import outputs
from mnist12k.backprop.hill import find_hill, sweep
from mnist12k.backprop.proof import Deviation, deviation
from mnist12k.backprop.settings import Backprop
from mnist12k.backprop.study import STEP_COLUMNS, loss_curves, steps, trajectory
from mnist12k.files import all_or_none, atomic_write, write_json, write_table, write_text
from mnist12k.paths import BACKPROP_REPORTS
from mnist12k.report.figures.backprop import draw_hill, draw_losses, draw_network
from mnist12k.report.study.derivation import write_derivation
from mnist12k.report.study.workbook import write_workbook


@all_or_none()
def run(study: Backprop) -> None:
    """Descend at every learning rate, check every number, and write reports/backprop."""
    name, network = study.studied()
    rates, iterations = study.learning_rates, study.iterations
    worksheet_rate = study.worksheet_learning_rate
    losses = loss_curves(network, rates, iterations)
    checked = {name: network} | study.presets.by_name()
    deviations = {
        (key, rate): deviation(each, rate, iterations)
        for key, each in checked.items()
        for rate in rates
    }
    largest = Deviation(*np.max(list(deviations.values()), axis=0).tolist())
    swept = sweep(network, iterations)
    hill = find_hill(network, iterations, swept)

    curves = pd.DataFrame(losses, columns=list(rates)).rename_axis("iteration").reset_index()
    curves = curves.melt("iteration", var_name="learning_rate", value_name="loss")
    write_table(outputs.LOSSES, curves[["learning_rate", "iteration", "loss"]])
    numbers = steps(network, worksheet_rate, iterations)
    write_table(BACKPROP_REPORTS / "steps.csv", pd.DataFrame(numbers, columns=list(STEP_COLUMNS)))
    check = pd.DataFrame(
        [(*key, iterations, *values) for key, values in deviations.items()],
        columns=["network", "learning_rate", "iterations", *Deviation._fields],
    )
    write_table(BACKPROP_REPORTS / "gradient_check.csv", check)
    write_table(outputs.HILL, pd.DataFrame(swept._asdict()))
    metrics = outputs.BackpropMetrics(
        loss_before=losses[0, 0].item(),
        loss_after=dict(zip(map(str, rates), losses[-1].tolist(), strict=True)),
        largest_deviation=outputs.LargestDeviation(**largest._asdict()),
        hill=outputs.HillEdges(**hill._asdict()),
    )
    write_json(outputs.BACKPROP_METRICS, metrics)

    (first,) = trajectory(network, worksheet_rate, 0)
    draw_network(network, first, BACKPROP_REPORTS / "network.png")
    draw_losses(rates, losses, BACKPROP_REPORTS / "loss_by_learning_rate.png")
    draw_hill(swept, hill, iterations, max(rates), BACKPROP_REPORTS / "hill.png")
    derivation = write_derivation(study, losses, deviations, swept, hill)
    write_text(BACKPROP_REPORTS / "derivation.md", derivation)
    with atomic_write(BACKPROP_REPORTS / "backprop.xlsx") as temporary:
        write_workbook(temporary, network, rates, worksheet_rate, iterations)
    for rate, loss in zip(rates, losses[-1], strict=True):
        print(f"{name}, learning rate {rate:g}: loss {losses[0, 0]:.9f} -> {loss:.9f}")
