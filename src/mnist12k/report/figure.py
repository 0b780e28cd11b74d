"""One look for every picture, and the same bytes from the same numbers."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnist12k.files import written_whole


def new_figure(width: float = 7.0, height: float = 4.5) -> tuple[Figure, Axes]:
    """Return an empty figure (inches) with one pair of axes, bound to no window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    """Write a PNG without the version stamp that would change its digest."""
    with written_whole(path) as beside:
        figure.savefig(beside, dpi=150, metadata={"Software": None})
