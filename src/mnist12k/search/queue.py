"""The queue of trials.

All trials are queued before any of them runs, and the storage hands each one to a single worker.
The number of trials is therefore exactly the requested one, whatever the number of workers, and
even if workers die.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from mnist12k.errors import UserError
from mnist12k.processes import is_gone
from mnist12k.search.settings import Tune
from mnist12k.search.space import Point, Range, Space, options, parse_space

PROCESS, ATTEMPT = "mnist12k.process", "mnist12k.attempt"  # user attributes of every queued trial
POINT, SEED = "mnist12k.point", "mnist12k.seed"  # user attributes of a finalist's trial
ATTEMPTS = 3  # a trial whose worker died this often is not queued again
GRACE = 60  # seconds without a sign of life, after which a worker counts as dead
GRID_POINTS = 5  # per range


def enqueue(study: optuna.Study, fixed: Point, attributes: dict[str, Any]) -> None:
    """Queue a trial with these user attributes; the sampler chooses whatever is not `fixed`."""
    study.enqueue_trial(fixed, user_attrs={ATTEMPT: 1} | attributes)


def fill_queue(study: optuna.Study, tune: Tune) -> None:
    """Queue the trials that are missing from `tune.trials`, or from the grid.

    Raises UserError if the grid has more points than `tune.trials`.
    """
    trials = [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state != TrialState.FAIL or trial.user_attrs.get(ATTEMPT, 1) >= ATTEMPTS
    ]
    missing: list[Point] = [{}] * (tune.trials - len(trials))
    if tune.sampler == "grid":
        points = list(grid(parse_space(tune.space)))
        if len(points) > tune.trials:
            raise UserError(
                f"tune.trials = {tune.trials}: the grid of tune.space has {len(points):,} points"
            )
        known = [trial.params or trial.system_attrs.get("fixed_params") for trial in trials]
        missing = [point for point in points if point not in known]
    for point in missing:
        enqueue(study, point, {})


def requeue_dead(study: optuna.Study, first_seen: dict[int, float]) -> None:
    """Queue again every running trial whose worker, on this machine, has died.

    A worker stores its process name with a trial right after taking it, so a trial without one
    `GRACE` seconds after it was first seen has lost its worker, too. The caller keeps `first_seen`
    between calls: the trial's own time stamps are those of another machine's clock.
    """
    now = time.monotonic()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        process = trial.user_attrs.get(PROCESS)
        seconds = now - first_seen.setdefault(trial.number, now)
        if is_gone(process) if process else seconds > GRACE:
            with contextlib.suppress(ValueError):  # another process was faster
                study.tell(trial.number, state=TrialState.FAIL)
                retry(study, trial)


def retry(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a copy of a trial that lost its worker, up to `ATTEMPTS` attempts in all."""
    attempt = trial.user_attrs.get(ATTEMPT, 1)
    if attempt < ATTEMPTS:
        kept = {key: trial.user_attrs[key] for key in (POINT, SEED) if key in trial.user_attrs}
        fixed = trial.system_attrs.get("fixed_params", {}) | trial.params
        enqueue(study, fixed, kept | {ATTEMPT: attempt + 1})


def queued(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials in the queue."""
    return study.get_trials(deepcopy=False, states=(TrialState.WAITING,))


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials with a result, complete or pruned, in the order of their numbers."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def grid(space: Space) -> Iterator[Point]:
    """Yield every point of a grid: all choices, and `GRID_POINTS` points per range."""
    axes = [options(name, dimension, _spaced, grid) for name, dimension in space.items()]
    for parts in itertools.product(*axes):
        yield {name: value for part in parts for name, value in part.items()}


def _spaced(within: Range) -> list[float]:
    low, high, log = within
    space = np.geomspace if log else np.linspace
    values = [float(value) for value in space(low, high, GRID_POINTS)]
    if isinstance(low, int) and isinstance(high, int) and not log:
        return sorted({round(value) for value in values})
    return values
