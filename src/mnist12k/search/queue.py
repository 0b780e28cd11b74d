"""The queue of trials.

All trials are queued before any of them runs, and the storage hands each one to a single worker.
The number of trials is therefore exactly the requested one, whatever the number of workers, and
even if workers die.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from mnist12k.errors import UserError
from mnist12k.processes import is_gone
from mnist12k.search.settings import Tune
from mnist12k.search.space import Cases, Choices, Dimension, Each, Range, Space, parse_space

PROCESS, ATTEMPT = "mnist12k.process", "mnist12k.attempt"  # user attributes of every queued trial
POINT, SEED = "mnist12k.point", "mnist12k.seed"  # user attributes of a finalist's trial
ATTEMPTS = 3  # a trial whose worker died this often is not queued again
GRACE = 60  # seconds without a sign of life, after which a worker counts as dead
GRID_POINTS = 5  # per range
Point = dict[str, Any]  # hyperparameters, named as in params.yaml


def enqueue(study: optuna.Study, fixed: Point, attributes: dict[str, Any]) -> None:
    """Queue a trial with these user attributes; the sampler chooses whatever is not `fixed`."""
    study.enqueue_trial(fixed, user_attrs={ATTEMPT: 1} | attributes)


def fill_queue(study: optuna.Study, tune: Tune) -> None:
    """Queue the trials that are missing from `tune.trials`, or from the grid.

    Raises UserError if the grid has more points than `tune.trials`.
    """
    trials = [trial for trial in study.get_trials(deepcopy=False) if not is_superseded(trial)]
    if tune.sampler != "grid":
        for _ in range(tune.trials - len(trials)):
            enqueue(study, {}, {})
        return
    points = list(grid(parse_space(tune.space)))
    if len(points) > tune.trials:
        raise UserError(
            f"tune.trials = {tune.trials}: the grid of tune.space has {len(points):,} points"
        )
    known = [trial.params or trial.system_attrs.get("fixed_params") for trial in trials]
    for point in points:
        if point not in known:
            enqueue(study, point, {})


def requeue_dead(study: optuna.Study, unnamed_since: dict[int, float]) -> None:
    """Queue again every running trial whose worker, on this machine, has died.

    A worker stores its process name with a trial right after taking it, so a trial without one for
    `GRACE` seconds has lost its worker, too. `unnamed_since` is kept by the caller between calls:
    it maps each such trial to the time of the first call that saw it. The trial's own time stamps
    are those of another machine's clock.
    """
    now = time.monotonic()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        process = trial.user_attrs.get(PROCESS)
        if process is None:
            dead = now - unnamed_since.setdefault(trial.number, now) > GRACE
        else:
            dead = is_gone(process)
        if dead:
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


def is_superseded(trial: FrozenTrial) -> bool:
    """Return whether a trial has failed and another one takes its place."""
    return trial.state == TrialState.FAIL and trial.user_attrs.get(ATTEMPT, 1) < ATTEMPTS


def queued(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials in the queue."""
    return study.get_trials(deepcopy=False, states=(TrialState.WAITING,))


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials with a result, complete or pruned, in the order of their numbers."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def is_done(study: optuna.Study) -> bool:
    """Return whether no trial is queued or running."""
    return not study.get_trials(deepcopy=False, states=(TrialState.WAITING, TrialState.RUNNING))


def grid(space: Space) -> Iterator[Point]:
    """Yield every point of a grid: all choices, and `GRID_POINTS` points per range."""
    for parts in itertools.product(*(_axis(*item) for item in space.items())):
        yield {key: value for part in parts for key, value in part.items()}


def _axis(name: str, dimension: Dimension) -> Sequence[Point]:
    match dimension:
        case Range(low, high, log):
            if isinstance(low, int) and isinstance(high, int) and not log:
                values = sorted({round(v) for v in np.linspace(low, high, GRID_POINTS)})
            else:
                spaced = np.geomspace if log else np.linspace
                values = [float(v) for v in spaced(low, high, GRID_POINTS)]
            return [{name: value} for value in values]
        case Choices(values):
            return [{name: value} for value in values]
        case Each(ranges):
            return list(grid({f"{name}.{i}": each for i, each in enumerate(ranges)}))
        case Cases(spaces):
            return [{name: case} | point for case, inner in spaces.items() for point in grid(inner)]
