"""The queue of trials.

All trials are queued before any of them runs, and the storage hands each one to a single worker.
The number of trials is therefore exactly the requested one, whatever the number of workers, and
even if workers die.
"""

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.storages._heartbeat import get_heartbeat_thread  # ask and tell has no public heartbeat
from optuna.trial import FrozenTrial, TrialState

from mnist12k.processes import is_gone
from mnist12k.search.settings import Tune
from mnist12k.search.space import Point

PROCESS, ATTEMPT = "mnist12k.process", "mnist12k.attempt"  # user attributes of every queued trial
# User attributes of a trial: a point that is given, not drawn; its seed; the finalist that it
# trains; a whole training that is given; the number of the trial's first attempt.
POINT, SEED, FINALIST = "mnist12k.point", "mnist12k.seed", "mnist12k.finalist"
TRAINING, FIRST_NUMBER = "mnist12k.training", "mnist12k.first_number"
KEPT = (POINT, SEED, FINALIST, TRAINING)  # when a trial is queued again
ENOUGH = "mnist12k.enough"  # user attribute of a study: why no further trial starts, or empty
ATTEMPTS = 3  # a trial whose worker died this often is not queued again
GRACE = 60  # seconds without a sign of life, after which a worker counts as dead


def enqueue(study: optuna.Study, fixed: Point, attributes: dict[str, Any]) -> None:
    """Queue a trial with these user attributes; the sampler chooses whatever is not `fixed`."""
    study.enqueue_trial(fixed, user_attrs={ATTEMPT: 1} | attributes)


def fill_queue(study: optuna.Study, plan: Sequence[tuple[Point, dict[str, Any]]]) -> None:
    """Queue what is missing of a plan: of each trial, what is fixed and its user attributes."""
    trials = [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state != TrialState.FAIL or trial.user_attrs.get(ATTEMPT, 1) >= ATTEMPTS
    ]
    for fixed, attributes in plan[len(trials) :]:
        enqueue(study, fixed, attributes)


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
        kept = {key: trial.user_attrs[key] for key in KEPT if key in trial.user_attrs}
        kept[FIRST_NUMBER] = trial.user_attrs.get(FIRST_NUMBER, trial.number)
        fixed = trial.system_attrs.get("fixed_params", {}) | trial.params
        enqueue(study, fixed, kept | {ATTEMPT: attempt + 1})


@contextlib.contextmanager
def signs_of_life(study: optuna.Study, trials: Sequence[optuna.Trial]) -> Iterator[None]:
    """Within the block, tell the storage every few seconds that the trials' worker lives."""
    with contextlib.ExitStack() as stack:
        for trial in trials:
            heartbeat = get_heartbeat_thread(trial._trial_id, study._storage)
            stack.enter_context(heartbeat)  # type: ignore[arg-type]
        yield


def queued(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials in the queue; none if the search has had enough."""
    if study.user_attrs.get(ENOUGH):
        return []
    return study.get_trials(deepcopy=False, states=(TrialState.WAITING,))


def why_enough(study: optuna.Study, tune: Tune, started: float) -> str:
    """Return why no further trial should start, or nothing; `started` is the monotonic clock's."""
    if tune.timeout is not None and time.monotonic() - started > tune.timeout:
        return f"tune.timeout = {tune.timeout:g} seconds have passed"
    if tune.patience is not None:
        trials = sorted(finished(study), key=lambda trial: trial.datetime_complete or datetime.min)
        losses = [math.inf if (loss := loss_of(trial)) is None else loss for trial in trials]
        if losses and len(losses) - 1 - losses.index(min(losses)) >= tune.patience:
            return f"tune.patience = {tune.patience} trials have brought no lower loss"
    return ""


def loss_of(trial: FrozenTrial) -> float | None:
    """Return a trial's validation loss, its first objective; None if it was pruned or diverged."""
    return trial.values[0] if trial.values else None


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials with a result, complete or pruned, in the order of their numbers."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
