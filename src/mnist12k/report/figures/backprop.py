"""Figures of the backprop study: the network, the loss curves, and the hill of learning rates."""

import math
import textwrap
from pathlib import Path

from matplotlib.axes import Axes

from mnist12k.backprop.hill import PATIENCE, RATES, TARGET_LOSS, Hill, Sweep
from mnist12k.backprop.network import Array
from mnist12k.backprop.settings import SmallNetwork
from mnist12k.backprop.study import Step
from mnist12k.report.figures.layout import EDGES, NODES, label_position
from mnist12k.report.figures.style import new_figure, save
from mnist12k.report.study.regimes import regimes

GREY = "#555555"
REGIME_COLOURS = ("#e3f1e3", "#fdf3dc", "#fbe3e0", "#e2e2e2")
COLOURS = {"i": "#dce9f7", "h": "#fdeacc", "o": "#dcf0dc"}  # by layer


def draw_network(network: SmallNetwork, step: Step, path: Path) -> None:
    """Draw the nodes with their values, and each edge with its weight and gradient."""
    figure, (axes,) = new_figure(width=10, height=4.8)
    axes.set_axis_off()
    axes.set(xlim=(-0.15, 2.85), ylim=(-0.35, 1.2))
    values = step.passed._asdict()
    inputs = dict(zip(("i1", "i2"), network.inputs, strict=True))
    nodes = {}
    for name, position in NODES.items():
        if name in inputs:
            text = f"{name}\n{inputs[name]:g}"
        else:
            text = f"{name} = {values[name]:.6f}\na_{name} = {values[f'a_{name}']:.6f}"
        box = {"boxstyle": "round,pad=0.6", "facecolor": COLOURS[name[0]], "edgecolor": GREY}
        nodes[name] = axes.annotate(text, position, ha="center", va="center", bbox=box)
    arrow = {"arrowstyle": "-|>", "color": GREY, "shrinkA": 0, "shrinkB": 0}
    for k, (edge, weight, slope) in enumerate(
        zip(EDGES, step.weights, step.gradients, strict=True), start=1
    ):
        tail, head = (nodes[name] for name in edge)
        ends = {"patchA": tail.get_bbox_patch(), "patchB": head.get_bbox_patch()}
        axes.annotate("", head.xy, tail.xy, arrowprops=arrow | ends)
        (x0, y0), (x1, y1) = tail.xy, head.xy
        axes.text(
            *label_position(edge),
            f"w{k} = {weight:.6g}\n∂E/∂w{k} = {slope:.4g}",
            ha="center",
            va="center",
            fontsize=9,
            rotation=math.degrees(math.atan2(y1 - y0, x1 - x0)),
            rotation_mode="anchor",
            transform_rotates_text=True,
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"},
        )
    for k, (bias, target) in enumerate(zip(network.biases, network.targets, strict=True), start=1):
        if bias:
            axes.text(k, -0.27, f"bias b{k} = {bias:g} for both units", ha="center", color=GREY)
        text = f"t{k} = {target:g}\nE{k} = {values[f'E{k}']:.9f}"
        axes.text(2.32, NODES[f"o{k}"][1], text, va="center")
    axes.text(2.32, 0.5, f"E_total = {values['E_total']:.9f}", va="center", weight="bold")
    save(figure, path)


def draw_losses(rates: tuple[float, ...], losses: Array, path: Path) -> None:
    """Draw one loss curve per learning rate; `losses` has shape (iterations + 1, rates)."""
    figure, (axes,) = new_figure()
    axes.plot(losses, label=[f"{rate:g}" for rate in rates])
    axes.set(xlabel="updates", ylabel="total loss", ylim=(0, None))
    axes.set_title("Loss of the 2-2-2 network at each learning rate")
    axes.legend(title="learning rate")
    save(figure, path)


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
    stable.loglog(rates, rates, "--", color=GREY, linewidth=1, label="learning rate = 2/λmax")
    stable.set(ylabel="2 / λmax of the Hessian", xlabel="learning rate")
    figure.suptitle("The hill: gradient descent on the 2-2-2 network at each learning rate")
    for axes in (needed, final, stable):
        _shade_regimes(axes, hill, named=axes is needed)
        axes.axvline(largest_rate, color="black", linestyle=":", label="largest studied rate")
    stable.legend(loc="upper left")
    save(figure, path)


def _shade_regimes(axes: Axes, hill: Hill, named: bool) -> None:
    axes.set_xlim(RATES[0], RATES[-1])
    for regime, colour in zip(regimes(hill), REGIME_COLOURS, strict=False):
        axes.axvspan(regime.start, regime.end, color=colour, zorder=0)
        if named:
            middle = (regime.start * regime.end) ** 0.5
            name = textwrap.fill(regime.name, 18)
            axes.text(middle, PATIENCE, name, ha="center", va="bottom", fontsize=8)
