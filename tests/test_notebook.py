"""The notebook in docs/, cell by cell, on a study of this project.

Its cells are plain Python, so that Python runs them: Jupyter's kernel would bring 23 packages.
"""

import ast
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat
import optuna
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from project import ROOT
from tune_command import search_settings

from mnist12k.search.study import open_study

NOTEBOOK = ROOT / "docs/search.ipynb"


def add_trials(study: optuna.Study, losses: list[float]) -> None:
    rate = optuna.distributions.FloatDistribution(0.01, 1)
    for loss in losses:
        trial = optuna.create_trial(
            value=loss, params={"learning_rate": 10 * loss}, distributions={"learning_rate": rate}
        )
        study.add_trial(trial)


def run_cells(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Run the cells of code as Jupyter does, in the notebook's folder; return what they show."""
    shown: list[Any] = []

    def show(value: Any) -> None:
        if value is not None:
            shown.append(value)

    monkeypatch.setattr(sys, "displayhook", show)
    monkeypatch.chdir(path.parent)
    variables: dict[str, Any] = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            module = ast.Interactive(ast.parse(cell.source).body)
            exec(compile(module, cell.id, "single"), variables)  # noqa: S102
    return shown


def test_the_notebook_shows_the_trials_of_the_latest_search_and_their_plot(
    idx_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    with search_settings(folder, idx_folder) as settings:
        for seed, losses in ((1, [0.05, 0.06]), (2, [0.03, 0.02, 0.04])):
            tune = settings.tune.model_copy(update={"seed": seed})
            add_trials(open_study(settings._replace(tune=tune)), losses)
            add_trials(open_study(settings._replace(tune=tune), "f" * 32), [0.01])
    notebook = folder / "docs" / NOTEBOOK.name
    notebook.parent.mkdir()
    shutil.copy(NOTEBOOK, notebook)
    trials, plot = run_cells(notebook, monkeypatch)
    assert isinstance(trials, pd.DataFrame)
    assert trials["value_validation loss"].tolist() == [0.03, 0.02, 0.04]
    assert isinstance(plot, Axes)
    assert plot.get_ylabel() == "validation loss"
    pyplot.close("all")


def test_the_notebook_is_valid_and_has_no_output_that_could_become_stale() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert [cell.outputs for cell in notebook.cells if cell.cell_type == "code"] == [[]] * 3
