"""The study: where it is kept, what it is called, and the queue of its trials.

Every trial is put into the queue before any is run. A worker takes one off, which the storage lets
only one of them do, so that however many there are and whenever one dies, the number of trials is
the one that was asked for.
"""

import contextlib
import hashlib
import itertools
import json
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from mnist12k.errors import UserError
from mnist12k.fingerprint import DATA, folder_md5
from mnist12k.params import Params, Tune
from mnist12k.processes import is_gone
from mnist12k.space import Cases, Choices, Dimension, Each, Range, Space, parse_space
from mnist12k.stores import store_root

JOURNAL = "optuna.journal"
DIGEST, PROCESS, ATTEMPT = "mnist12k.digest", "mnist12k.process", "mnist12k.attempt"
POINT, SEED = "mnist12k.point", "mnist12k.seed"  # of a finalist
ATTEMPTS = 3  # a trial that has cost so many workers their lives is given up
GRID_POINTS = 5  # of a range
HEARTBEAT, GRACE = 15, 60  # seconds; a worker elsewhere that is silent for so long is dead
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
Point = dict[str, Any]  # parameters of a training, named as in params.yaml


def study_digest(params: Params) -> str:
    """Return 32 digits that stand for what a trial's result depends on besides its parameters."""
    tune = params.tune
    made_of = {
        "start": params.recipes[tune.recipe].model_dump(),
        "space": tune.space,
        "seed": tune.seed,
        "seeds_per_trial": tune.seeds_per_trial,
        "validation_size": params.train.validation_size,
        "data": folder_md5(DATA),
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]


def open_study(params: Params, finalists: str = "") -> optuna.Study:
    """Open this space's study, made if new; or the one in which `finalists` train again.

    Raises UserError where the storage does not answer, or holds another study under the name.
    """
    digest = study_digest(params) + finalists
    name = f"mnist12k-{digest[:8]}" + (f"-finalists-{finalists[:8]}" if finalists else "")
    try:
        study = optuna.create_study(
            storage=open_storage(params.tune.storage),
            pruner=NopPruner() if finalists else new_pruner(params),
            study_name=name,
            load_if_exists=True,
        )
        known = study.user_attrs.get(DIGEST)
        if known is None and not study.get_trials(deepcopy=False):
            study.set_user_attr(DIGEST, digest)
            known = digest
    except Exception as error:  # every database fails in its own way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(f"tune.storage = {without_password(params.tune)!r}: {reason}") from error
    if known != digest:
        raise UserError(
            f"tune.storage holds a study {name} of another space; move it away, or change tune.seed"
        )
    return study


def without_password(tune: Tune) -> str:
    """Return `tune.storage` as it may be shown."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", tune.storage)


def open_storage(name: str) -> BaseStorage:
    """Open the embedded journal beside MLflow's store, or a PostgreSQL server."""
    if name == "journal":
        return JournalStorage(JournalFileBackend(str(store_root() / JOURNAL)))
    return RDBStorage(
        name,
        engine_kwargs={"connect_args": {"connect_timeout": 5}},
        heartbeat_interval=HEARTBEAT,
        grace_period=GRACE,
        heartbeat_stale_trial_callback=queue_again,
    )


def new_sampler(tune: Tune, study: optuna.Study) -> BaseSampler:
    """Return the sampler for the next trial.

    Its seed moves with the trials that have begun: a search that is gone on with, or done by one
    worker twice, neither repeats points nor loses its order.
    """
    begun = len(study.get_trials(deepcopy=False)) - len(waiting(study))
    seed = int(np.random.SeedSequence([tune.seed, begun]).generate_state(1)[0])
    match tune.sampler:
        case "tpe":
            return TPESampler(seed=seed, group=True)
        case "gp":
            return GPSampler(seed=seed, warn_independent_sampling=False)
        case "cma_es":
            return CmaEsSampler(seed=seed, warn_independent_sampling=False)
        case "random" | "grid":  # the points of a grid are in the queue
            return RandomSampler(seed=seed)


def new_pruner(params: Params) -> BasePruner:
    """Return the pruner that params.tune names; one step is an epoch, or for Wilcoxon's a seed."""
    match params.tune.pruner:
        case "hyperband":
            epochs = params.recipes[params.tune.recipe].epochs
            return HyperbandPruner(min_resource=1, max_resource=epochs)
        case "median":
            return MedianPruner(n_startup_trials=2)  # of 40 trials, Optuna's 5 would cost a tenth
        case "wilcoxon":
            return WilcoxonPruner()
        case "none":
            return NopPruner()


def queue(study: optuna.Study, chosen: Point, attributes: dict[str, Any]) -> None:
    """Put a trial into the queue; what is not `chosen` will be the sampler's to choose."""
    study.enqueue_trial(chosen, user_attrs={ATTEMPT: 1} | attributes)


def fill_queue(study: optuna.Study, tune: Tune) -> None:
    """Queue what `tune.trials` lacks, of a grid the points that are not there."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if not is_dead_end(trial)]
    if tune.sampler != "grid":
        for _ in range(tune.trials - len(trials)):
            queue(study, {}, {})
        return
    points = list(grid(parse_space(tune.space)))
    if len(points) > tune.trials:
        raise UserError(
            f"tune.trials = {tune.trials}: the grid of tune.space has {len(points):,} points"
        )
    known = [trial.params or trial.system_attrs.get("fixed_params") for trial in trials]
    for point in points:
        if point not in known:
            queue(study, point, {})


def requeue_dead(study: optuna.Study, nameless_since: dict[int, float]) -> None:
    """Queue again the trials whose worker, on this machine, is gone, or died before it had a name.

    `nameless_since`, the caller's to keep from call to call, holds when each trial without a
    worker's name was first seen: clocks and time zones of machines differ, so that the trial's own
    times tell nothing. A worker names itself at once; one that is killed before that may have left
    no heartbeat either.
    """
    now = time.monotonic()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        process = trial.user_attrs.get(PROCESS)
        if process is None:
            lost = now - nameless_since.setdefault(trial.number, now) > GRACE
        else:
            lost = is_gone(process)
        if lost:
            with contextlib.suppress(ValueError):  # another process was quicker
                study.tell(trial.number, state=TrialState.FAIL)
                queue_again(study, trial)


def queue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Put a copy of a trial that has lost its worker into the queue, unless that happens often."""
    attempt = trial.user_attrs.get(ATTEMPT, 1)
    if attempt < ATTEMPTS:
        kept = {key: trial.user_attrs[key] for key in (POINT, SEED) if key in trial.user_attrs}
        fixed = trial.system_attrs.get("fixed_params", {}) | trial.params
        queue(study, fixed, kept | {ATTEMPT: attempt + 1})


def is_dead_end(trial: FrozenTrial) -> bool:
    """Tell whether a trial has failed, and another has been queued in its place."""
    return trial.state == TrialState.FAIL and trial.user_attrs.get(ATTEMPT, 1) < ATTEMPTS


def waiting(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials in the queue."""
    return study.get_trials(deepcopy=False, states=(TrialState.WAITING,))


def is_done(study: optuna.Study) -> bool:
    """Tell whether no trial waits or runs."""
    return not study.get_trials(deepcopy=False, states=(TrialState.WAITING, TrialState.RUNNING))


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that have a result, pruned ones included, by their numbers."""
    return study.get_trials(deepcopy=False, states=ENDED)


def grid(space: Space) -> Iterator[Point]:
    """Yield every point of a grid: each choice, and of a range `GRID_POINTS` from end to end."""
    sides = [_side(name, dimension) for name, dimension in space.items()]
    for parts in itertools.product(*sides):
        yield {key: value for part in parts for key, value in part.items()}


def _side(name: str, dimension: Dimension) -> Sequence[Point]:
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
