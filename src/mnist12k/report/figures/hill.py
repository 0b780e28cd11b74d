"""The hill of learning rates, from those that barely learn to those that saturate."""

from pathlib import Path

from matplotlib.axes import Axes

from mnist12k.backprop.hill import PATIENCE, RATES, TARGET_LOSS, Hill, Sweep
from mnist12k.report.figures.style import new_figure, save


def draw_hill(swept: Sweep, hill: Hill, iterations: int, largest_rate: float, path: Path) -> None:
    """Draw updates needed, final loss and 2/λmax against the learning rate, regimes shaded.

    A dotted line marks `largest_rate`, the largest of the study's loss curves.
    """
    figure, (needed, final, stable) = new_figure(width=9, height=9, rows=3)
    rates = swept.learning_rate
    needed.loglog(rates, swept.updates_needed, ".", markersize=3)
    needed.set(ylim=(0.7, PATIENCE), ylabel=f"updates until loss < {TARGET_LOSS:g}")
    # Outputs that equal their targets in float64 give a loss of 0, which has no logarithm.
    final.loglog(rates, swept.loss_after_study.clip(min=1e-33), ".", markersize=3)
    final.set(ylabel=f"loss after {iterations} updates")
    stable.loglog(rates, swept.stable_below, ".", markersize=3, label="at the minimum reached")
    stable.loglog(rates, rates, "--", color="#555555", linewidth=1, label="learning rate = 2/λmax")
    stable.set(ylabel="2 / λmax of the Hessian", xlabel="learning rate")
    figure.suptitle("The hill: gradient descent on the 2-2-2 network at each learning rate")
    for axes in (needed, final, stable):
        _shade_regimes(axes, hill, named=axes is needed)
        axes.axvline(largest_rate, color="black", linestyle=":", label="largest studied rate")
    stable.legend(loc="upper left")
    save(figure, path)


def _shade_regimes(axes: Axes, hill: Hill, named: bool) -> None:
    starts = [
        (float(RATES[0]), "#e3f1e3", "up to the fastest rate"),
        (hill.fastest, "#fdf3dc", "overshoots"),
        (hill.largest_never_rising, "#fbe3e0", "loss rises, then\nsettles where it is flatter"),
        (hill.saturation, "#e2e2e2", "saturates\n\n"),
    ]
    regimes = sorted((start, colour, name) for start, colour, name in starts if start is not None)
    ends = [start for start, *_ in regimes[1:]] + [float(RATES[-1])]
    axes.set_xlim(RATES[0], RATES[-1])
    for (start, colour, name), end in zip(regimes, ends, strict=True):
        axes.axvspan(start, end, color=colour, zorder=0)
        if named:
            middle = (start * end) ** 0.5
            axes.text(middle, PATIENCE, name, ha="center", va="bottom", fontsize=8)
