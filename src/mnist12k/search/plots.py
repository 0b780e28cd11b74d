"""The importances of a study's hyperparameters, with their spread."""

import contextlib
from pathlib import Path
from textwrap import fill

import numpy as np
import optuna
import pandas as pd
from matplotlib.figure import Figure
from optuna.search_space import intersection_search_space
from optuna.trial import FrozenTrial, TrialState

from mnist12k.report.figures.style import new_figure, save
from mnist12k.search.picture_style import PALETTE

BOOTSTRAPS = 30
TREES = 8  # per bootstrap
SEED = 1


def draw_study(study: optuna.Study, folder: Path) -> None:
    """Write importances.png, unless fewer than two trials are complete."""
    figure = draw_importances(study)
    if figure is not None:
        save(figure, folder / "importances.png")


def complete_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the complete trials with hyperparameters."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in trials if trial.params]


def bootstrap_importances(study: optuna.Study) -> pd.DataFrame:
    """Return fANOVA's importances, one column per hyperparameter and one row per bootstrap.

    Each row sums to 1; bootstraps without a difference in loss have none. Conditional
    hyperparameters, which not every trial has, are left out, as in Optuna. The trials are resampled
    with a fixed seed.
    """
    # Here, since scikit-learn comes with it, which warns at once if no file may be written.
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    trials = complete_trials(study)
    names = list(intersection_search_space(trials))
    generator = np.random.default_rng(SEED)
    rows = []
    for seed in range(BOOTSTRAPS):
        resampled = optuna.create_study()
        resampled.add_trials([trials[i] for i in generator.integers(len(trials), size=len(trials))])
        evaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
        with contextlib.suppress(RuntimeError):  # all of its losses are the same
            rows.append(get_param_importances(resampled, evaluator=evaluator, params=names))
    return pd.DataFrame(rows, columns=names, dtype=float)


def draw_importances(study: optuna.Study) -> Figure | None:
    """Draw a dot at each importance's median over bootstraps, and a line from 5 to 95 % of them."""
    trials = complete_trials(study)
    if len(trials) < 2 or len(intersection_search_space(trials)) < 2:
        return None
    importances = bootstrap_importances(study)
    if importances.empty:
        return None
    low, median, high = importances.quantile([0.05, 0.5, 0.95]).to_numpy()
    order = np.argsort(median)
    figure, (axes,) = new_figure(width=8, height=1.8 + 0.35 * len(order))
    rows = range(len(order))
    axes.hlines(rows, low[order], high[order], color=PALETTE[0], linewidth=2)
    axes.plot(median[order], rows, "o", color=PALETTE[0])
    axes.set_yticks(rows, importances.columns[order])
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.5, len(order) - 0.5))
    axes.set_xlabel("importance for the validation loss (fANOVA; they sum to 1)")
    text = f"Median and 5 to 95 % of {BOOTSTRAPS} bootstraps of {len(trials)} trials"
    axes.set_title(text, loc="left")
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    if left_out := [name for name in names if name not in importances]:
        text = f"Left out, since only some trials have them: {', '.join(left_out)}"
        figure.supxlabel(fill(text, 90), fontsize="small")
    return figure
