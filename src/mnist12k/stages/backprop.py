"""The learning-rate study of the 2-2-2 network."""

from pathlib import Path
from typing import Any

import numpy as np

from mnist12k.backprop.hill import Hill, Sweep, find_hill, sweep
from mnist12k.backprop.network import Array, Network
from mnist12k.backprop.proof import Deviation, deviation
from mnist12k.backprop.study import STEP_COLUMNS, loss_curves, steps, trajectory
from mnist12k.backprop.workbook import write_workbook
from mnist12k.files import write_csv, write_json, write_text, written_whole
from mnist12k.params import Backprop, Params
from mnist12k.params import Network as Given
from mnist12k.report.checks import errata, gradient_check
from mnist12k.report.derivation import derivation
from mnist12k.report.hill import conclusions, draw_hill
from mnist12k.report.learning_rates import draw_loss_by_learning_rate, final_losses
from mnist12k.report.network_diagram import draw_network

REPORTS = Path("reports/backprop")

Deviations = dict[tuple[str, float], Deviation]


def run(params: Params) -> None:
    """Descend at every learning rate, prove every number, and write all of reports/backprop."""
    study = params.backprop
    presets = {"seed": _network(study.presets.seed), "mazur": _network(study.presets.mazur)}
    name, network = _studied(study, presets)
    rates, iterations = study.learning_rates, study.iterations

    losses = loss_curves(network, rates, iterations)
    deviations = {
        (proven, rate): deviation(presets.get(proven, network), rate, iterations)
        for proven in dict.fromkeys([name, *presets])
        for rate in rates
    }
    swept = sweep(network, iterations)
    hill = find_hill(network, iterations, swept)

    _write_curves(study, losses)
    _write_steps(study, network)
    write_csv(
        REPORTS / "gradient_check.csv",
        ["network", "learning_rate", "iterations", *Deviation._fields],
        ((*key, iterations, *found) for key, found in deviations.items()),
    )
    _write_hill(study, swept, hill)
    page = [
        derivation(name, network, study.worksheet_learning_rate),
        gradient_check(deviations, iterations),
        f"## Learning rates\n\n![Loss by learning rate](loss_by_learning_rate.png)\n\n"
        f"After {iterations} updates:\n\n{final_losses(rates, losses)}",
        f"## The whole hill\n\n![The whole hill](hill.png)\n\n"
        f"{conclusions(swept, hill, iterations)}\n",
        errata(presets["seed"], presets["mazur"], rates, iterations),
    ]
    write_text(REPORTS / "derivation.md", "\n".join(page))
    _write_metrics(rates, losses, deviations, hill)
    for rate, loss in zip(rates, losses[-1], strict=True):
        print(f"{name}, learning rate {rate:g}: loss {losses[0, 0]:.9f} -> {loss:.9f}")


def _network(given: Given) -> Network:
    return Network(given.inputs, given.targets, given.weights, given.biases)


def _studied(study: Backprop, presets: dict[str, Network]) -> tuple[str, Network]:
    """Return the network to study and its name: a preset's, too, where one's own equals it."""
    network = presets.get(study.preset, _network(study))
    return next((name for name, preset in presets.items() if preset == network), "own"), network


def _write_curves(study: Backprop, losses: Array) -> None:
    write_csv(
        REPORTS / "losses.csv",
        ["learning_rate", "iteration", "loss"],
        (
            (rate, iteration, loss)
            for rate, curve in zip(study.learning_rates, losses.T.tolist(), strict=True)
            for iteration, loss in enumerate(curve)
        ),
    )
    draw_loss_by_learning_rate(study.learning_rates, losses, REPORTS / "loss_by_learning_rate.png")


def _write_steps(study: Backprop, network: Network) -> None:
    rate = study.worksheet_learning_rate
    rows = steps(network, rate, study.iterations)
    write_csv(REPORTS / "steps.csv", STEP_COLUMNS, rows.tolist())
    draw_network(network, trajectory(network, rate, 0)[0], REPORTS / "network.png")
    with written_whole(REPORTS / "backprop.xlsx") as beside:
        write_workbook(beside, network, study.learning_rates, rate, study.iterations)


def _write_hill(study: Backprop, swept: Sweep, hill: Hill) -> None:
    columns = [
        ["" if value != value else value for value in field.tolist()]  # NaN: no such thing
        for field in swept
    ]
    write_csv(REPORTS / "hill.csv", swept._fields, zip(*columns, strict=True))
    draw_hill(swept, hill, study.iterations, max(study.learning_rates), REPORTS / "hill.png")


def _write_metrics(
    rates: tuple[float, ...], losses: Array, deviations: Deviations, hill: Hill
) -> None:
    largest: Any = np.max(list(deviations.values()), axis=0)
    write_json(
        REPORTS / "metrics.json",
        {
            "loss_before": losses[0, 0].item(),
            "loss_after": dict(zip(map(str, rates), losses[-1].tolist(), strict=True)),
            "largest_deviation": dict(zip(Deviation._fields, largest.tolist(), strict=True)),
            "hill": hill._asdict(),
        },
    )
