"""Optuna's pictures of a study, drawn by matplotlib."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from optuna.trial import TrialState
from optuna.visualization import matplotlib as draw

from mnist12k.report.figure import save

PICTURES: dict[str, Callable[[optuna.Study], Axes | np.ndarray]] = {
    "history": draw.plot_optimization_history,
    "importances": draw.plot_param_importances,
    "slice": draw.plot_slice,
    "parallel_coordinates": draw.plot_parallel_coordinate,
    "intermediate_values": draw.plot_intermediate_values,
}


def draw_study(study: optuna.Study, folder: Path) -> None:
    """Write a PNG a picture; what too few finished trials cannot show is left out."""
    from matplotlib import pyplot

    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < 2:
        return
    # Cut to what is drawn, so that no long name is cut off.
    with pyplot.rc_context({"backend": "agg", "savefig.bbox": "tight"}):
        for name, picture in PICTURES.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of a case with few trials
                drawn = picture(study)
            axes = [drawn] if isinstance(drawn, Axes) else list(drawn)
            figure = axes[0].figure
            assert isinstance(figure, Figure)
            figure.set_size_inches(max(7.0, 2.5 * len(axes)), 4.5)
            for each in axes:
                each.xaxis.set_minor_formatter(NullFormatter())
                each.tick_params(axis="x", labelrotation=30)
                legend = each.get_legend()
                if name == "intermediate_values" and legend is not None:
                    each.set_yscale("log")  # losses
                    legend.remove()  # a line for every trial
            save(figure, folder / f"{name}.png")
            pyplot.close(figure)
