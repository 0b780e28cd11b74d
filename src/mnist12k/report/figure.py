"""One look for every picture, and the same bytes from the same numbers."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnist12k.files import written_whole


def new_figure(
    columns: int = 1, width: float = 7.0, height: float = 4.5, rows: int = 1
) -> tuple[Figure, list[Axes]]:
    """Return an empty figure (inches), bound to no window, and its axes, row by row.

    Axes above one another share their x axis.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False, sharex="col").flat)
    for axes in grid:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, grid


def save(figure: Figure, path: Path) -> None:
    """Write a PNG without the version stamp that would change its digest."""
    with written_whole(path) as beside:
        figure.savefig(beside, dpi=150, metadata={"Software": None})
