"""The learning-rate study of the 2-2-2 network."""

from pathlib import Path

from mnist12k.backprop.network import Network
from mnist12k.backprop.study import STEP_COLUMNS, loss_curves, steps
from mnist12k.files import write_csv, write_json
from mnist12k.params import Params
from mnist12k.report.learning_rates import draw_loss_by_learning_rate

REPORTS = Path("reports/backprop")


def run(params: Params) -> None:
    """Descend at every learning rate; write the curves, one rate's steps, and their picture."""
    study = params.backprop
    presets = {"seed": study.presets.seed, "mazur": study.presets.mazur}
    given = presets.get(study.preset, study)
    network = Network(given.inputs, given.targets, given.weights, given.biases)
    losses = loss_curves(network, study.learning_rates, study.iterations)
    write_csv(
        REPORTS / "losses.csv",
        ["learning_rate", "iteration", "loss"],
        (
            (rate, iteration, loss)
            for rate, curve in zip(study.learning_rates, losses.T.tolist(), strict=True)
            for iteration, loss in enumerate(curve)
        ),
    )
    rows = steps(network, study.worksheet_learning_rate, study.iterations)
    write_csv(REPORTS / "steps.csv", STEP_COLUMNS, rows.tolist())
    draw_loss_by_learning_rate(study.learning_rates, losses, REPORTS / "loss_by_learning_rate.png")
    final = dict(zip(map(str, study.learning_rates), losses[-1].tolist(), strict=True))
    write_json(REPORTS / "metrics.json", {"loss_before": losses[0, 0].item(), "loss_after": final})
    for rate, loss in final.items():
        print(f"learning rate {rate}: loss {losses[0, 0]:.9f} -> {loss:.9f}")
