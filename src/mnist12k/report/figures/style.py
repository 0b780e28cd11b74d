"""The common style of all figures; the same numbers give the same bytes."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnist12k.files import atomic_write


def new_figure(
    columns: int = 1, width: float = 7.0, height: float = 4.5, rows: int = 1
) -> tuple[Figure, list[Axes]]:
    """Return an empty figure (sizes in inches) and its axes, row by row.

    The axes of one column have the same x axis.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False, sharex="col").flat)
    for axes in grid:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, grid


def save(figure: Figure, path: Path) -> None:
    """Write a PNG without matplotlib's version, which would change its digest."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Software": None})
