"""The plan of a search: what is fixed of each trial before the sampler chooses the rest."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from mnist12k.errors import UserError
from mnist12k.search.queue import POINT
from mnist12k.search.settings import SearchSettings
from mnist12k.search.space import (
    Cases,
    Point,
    Range,
    Space,
    as_parameters,
    options,
    parse_space,
    with_lists,
)
from mnist12k.search.storage import open_storage

GRID_POINTS = 5  # per range without a step
CASE_TRIALS = 10  # of each case
BEST_OF_STUDY = 5  # trials of `tune.from_study`


def plan(settings: SearchSettings) -> list[tuple[Point, dict[str, Any]]]:
    """Return what is fixed of each of `tune.trials` trials, and its user attributes.

    The recipe itself is the first trial; the start points follow, and the best ones of
    `tune.from_study`; then ten trials of every case of the space. The rest is free. For the sampler
    `grid`, the plan is the grid.

    Raises UserError if the grid has more points than `tune.trials`, or `tune.from_study` is
    unknown.
    """
    tune = settings.tune
    space = parse_space(tune.space)
    if tune.sampler == "grid":
        points = [*grid(space)]
        if len(points) > tune.trials:
            raise UserError(
                f"tune.trials = {tune.trials}: the grid of tune.space has {len(points):,} points"
            )
        return [(point, {}) for point in points]
    given = [as_parameters(point, space, partial=True) for point in tune.start_points]
    given += best_of_study(settings, space)
    cases = {name: [*each.spaces] for name, each in space.items() if isinstance(each, Cases)}
    shared = CASE_TRIALS * max(map(len, cases.values()), default=0)
    given += [
        {name: own[number % len(own)] for name, own in cases.items()} for number in range(shared)
    ]
    planned = [the_recipe(settings, space), *((point, {}) for point in given)]
    planned += [({}, {})] * (tune.trials - len(planned))
    return planned[: tune.trials]


def the_recipe(settings: SearchSettings, space: Space) -> tuple[Point, dict[str, Any]]:
    """Return the plan of a trial that trains the recipe itself."""
    values = settings.start.model_dump() | {"network": settings.train.network}
    try:
        return as_parameters(values, space), {}
    except ValueError:  # outside the space: it is trained, but the sampler learns nothing from it
        return {}, {POINT: {}}


def best_of_study(settings: SearchSettings, space: Space) -> list[Point]:
    """Return the points of the best trials of `tune.from_study` that are in the space."""
    name = settings.tune.from_study
    if name is None:
        return []
    storage = open_storage(settings.tune.storage)
    try:
        other = optuna.load_study(study_name=name, storage=storage)
    except KeyError as error:
        names = ", ".join(optuna.get_all_study_names(storage)) or "none"
        raise UserError(f"tune.from_study = {name!r}: studies in tune.storage: {names}") from error
    points: list[Point] = []
    complete = other.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    for trial in sorted(complete, key=lambda trial: trial.value or 0):
        try:
            point = as_parameters(with_lists(trial.params), space, partial=True)
        except ValueError:
            continue
        if point and point not in points:
            points.append(point)
    return points[:BEST_OF_STUDY]


def grid(space: Space) -> Iterator[Point]:
    """Yield every point of a grid: all choices, and `GRID_POINTS` points per range."""
    axes = [options(name, dimension, _spaced, grid) for name, dimension in space.items()]
    for parts in itertools.product(*axes):
        yield {name: value for part in parts for name, value in part.items()}


def _spaced(within: Range) -> list[float]:
    low, high, log, step = within
    if step is not None:
        return [low + number * step for number in range(round((high - low) / step) + 1)]
    space = np.geomspace if log else np.linspace
    values = [float(value) for value in space(low, high, GRID_POINTS)]
    if isinstance(low, int) and isinstance(high, int) and not log:
        return sorted({round(value) for value in values})
    return values
