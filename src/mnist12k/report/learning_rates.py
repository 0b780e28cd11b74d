"""The loss curves of the backprop study: their picture, and where they end."""

from pathlib import Path

from mnist12k.backprop.network import Array
from mnist12k.report.figure import new_figure, save
from mnist12k.report.markdown import table


def draw_loss_by_learning_rate(rates: tuple[float, ...], losses: Array, path: Path) -> None:
    """Draw one loss curve a rate; `losses` has shape (iterations + 1, rates)."""
    figure, (axes,) = new_figure()
    for rate, curve in zip(rates, losses.T, strict=True):
        axes.plot(curve, label=f"{rate:g}")
    axes.set(xlabel="updates", ylabel="total loss", ylim=(0, None))
    axes.set_title("The 2-2-2 network's loss at each learning rate")
    axes.legend(title="learning rate")
    save(figure, path)


def final_losses(rates: tuple[float, ...], losses: Array) -> str:
    """Return the table of the losses that the curves end at."""
    head = ["learning rate", *(f"{rate:g}" for rate in rates)]
    return table(head, [["loss", *(f"{loss:.6g}" for loss in losses[-1])]])
