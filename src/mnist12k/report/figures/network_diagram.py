"""The 2-2-2 network with its numbers at one iteration."""

import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text

from mnist12k.backprop.settings import SmallNetwork
from mnist12k.backprop.study import Step
from mnist12k.report.figures.layout import EDGES, PLACES, Edge, label_place
from mnist12k.report.figures.style import new_figure, save

COLOURS = {"i": "#dce9f7", "h": "#fdeacc", "o": "#dcf0dc"}  # by layer


def draw_network(network: SmallNetwork, step: Step, path: Path) -> None:
    """Draw the nodes with their values, and each edge with its weight and gradient."""
    figure, (axes,) = new_figure(width=10, height=4.8)
    axes.set_axis_off()
    axes.set(xlim=(-0.15, 2.85), ylim=(-0.35, 1.2))
    values = step.passed._asdict()
    texts = {
        "i1": f"i1\n{network.inputs[0]:g}",
        "i2": f"i2\n{network.inputs[1]:g}",
        **{
            name: f"{name} = {values[name]:.6f}\na_{name} = {values[f'a_{name}']:.6f}"
            for name in ("h1", "h2", "o1", "o2")
        },
    }
    nodes = {name: _node(axes, name, text) for name, text in texts.items()}
    for k, edge in enumerate(EDGES):
        tail, head = edge
        _arrow(axes, nodes[tail], nodes[head])
        weight, slope = step.weights[k], step.gradients[k]
        text = f"w{k + 1} = {weight:.6g}\n∂E/∂w{k + 1} = {slope:.4g}"
        _edge_label(axes, edge, text)
    for x, name, bias in zip((1, 2), ("b1", "b2"), network.biases, strict=True):
        if bias:
            axes.text(
                x, -0.27, f"bias {name} = {bias:g} for both units", ha="center", color="#555555"
            )
    for k, target in enumerate(network.targets, start=1):
        text = f"t{k} = {target:g}\nE{k} = {values[f'E{k}']:.9f}"
        axes.text(2.32, PLACES[f"o{k}"][1], text, va="center")
    axes.text(2.32, 0.5, f"E_total = {values['E_total']:.9f}", va="center", weight="bold")
    save(figure, path)


def _node(axes: Axes, name: str, text: str) -> Annotation:
    box = {"boxstyle": "round,pad=0.6", "facecolor": COLOURS[name[0]], "edgecolor": "#555555"}
    return axes.annotate(text, PLACES[name], ha="center", va="center", bbox=box)


def _arrow(axes: Axes, tail: Text, head: Text) -> None:
    """Draw from the edge of one node's box to the edge of another's."""
    ends = {"patchA": tail.get_bbox_patch(), "patchB": head.get_bbox_patch()}
    style = {"arrowstyle": "-|>", "color": "#555555", "shrinkA": 0, "shrinkB": 0, **ends}
    axes.annotate("", xy=head.get_position(), xytext=tail.get_position(), arrowprops=style)


def _edge_label(axes: Axes, edge: Edge, text: str) -> None:
    (x0, y0), (x1, y1) = (PLACES[node] for node in edge)
    axes.text(
        *label_place(edge),
        text,
        ha="center",
        va="center",
        fontsize=9,
        rotation=math.degrees(math.atan2(y1 - y0, x1 - x0)),
        rotation_mode="anchor",
        transform_rotates_text=True,
        bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"},
    )
