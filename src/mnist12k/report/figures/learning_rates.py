"""The loss curves of the backprop study."""

from pathlib import Path

from mnist12k.backprop.network import Array
from mnist12k.report.figures.style import new_figure, save


def draw_loss_by_learning_rate(rates: tuple[float, ...], losses: Array, path: Path) -> None:
    """Draw one loss curve per rate; `losses` has shape (iterations + 1, rates)."""
    figure, (axes,) = new_figure()
    for rate, curve in zip(rates, losses.T, strict=True):
        axes.plot(curve, label=f"{rate:g}")
    axes.set(xlabel="updates", ylabel="total loss", ylim=(0, None))
    axes.set_title("Loss of the 2-2-2 network at each learning rate")
    axes.legend(title="learning rate")
    save(figure, path)
