"""Optuna's plots of a study, drawn with matplotlib."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib.ticker import NullFormatter
from optuna.trial import TrialState
from optuna.visualization import matplotlib as visualization

from mnist12k.report.figures.style import save

PLOTS: dict[str, Callable[[optuna.Study], Any]] = {
    "history": visualization.plot_optimization_history,
    "importances": visualization.plot_param_importances,
    "slice": visualization.plot_slice,
    "parallel_coordinates": visualization.plot_parallel_coordinate,
    "intermediate_values": visualization.plot_intermediate_values,
}


def draw_study(study: optuna.Study, folder: Path) -> None:
    """Write one PNG per plot; none if fewer than two trials are complete."""
    from matplotlib import pyplot

    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < 2:
        return
    # A tight bounding box keeps long parameter names inside the image.
    with pyplot.rc_context({"backend": "agg", "savefig.bbox": "tight"}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about cases with few trials
        for name, plot in PLOTS.items():
            grid = np.atleast_1d(plot(study))  # of axes
            for axes in grid:
                axes.xaxis.set_minor_formatter(NullFormatter())
                axes.tick_params(axis="x", labelrotation=30)
                if name == "intermediate_values" and axes.get_legend():
                    axes.set_yscale("log")  # losses
                    axes.get_legend().remove()  # it has one entry per trial
            figure = pyplot.gcf()
            figure.set_size_inches(max(7.0, 2.5 * len(grid)), 4.5)
            save(figure, folder / f"{name}.png")
            pyplot.close(figure)
