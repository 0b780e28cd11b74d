"""The second round: the best trials, and the recipe itself, from fresh seeds.

At this accuracy one image is 0.02 %, so that the best of many trials is partly the luckiest one.
"""

import hashlib
import json
import statistics
from typing import NamedTuple

import optuna
from optuna.trial import TrialState

from mnist12k.params import Tune
from mnist12k.search.study import POINT, SEED, Point, queue
from mnist12k.search.trial import ACCURACY, point_of


class Finalist(NamedTuple):
    """A point that trains again: its trial's number, or None for the recipe itself."""

    trial: int | None
    point: Point


class Result(NamedTuple):
    """A finalist's losses and accuracies on the held-out images, by seed."""

    finalist: Finalist
    losses: dict[int, float]
    accuracies: dict[int, float]

    @property
    def mean_loss(self) -> float:
        """The mean over its seeds, which the choice is made by."""
        return statistics.mean(self.losses.values())

    @property
    def mean_accuracy(self) -> float:
        """The mean over its seeds, in [0, 1]."""
        return statistics.mean(self.accuracies.values())


def choose_finalists(study: optuna.Study, tune: Tune) -> list[Finalist]:
    """Return the recipe itself and the trials of the lowest validation loss, the best first."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    best: list[Finalist] = []
    for trial in sorted(complete, key=lambda trial: trial.value or 0):
        point = point_of(trial.params)
        if point not in [finalist.point for finalist in best]:
            best.append(Finalist(trial.number, point))
    return [Finalist(None, {}), *best[: tune.finalists]]


def fingerprint(finalists: list[Finalist], tune: Tune) -> str:
    """Return 32 digits that stand for who trains again, and from which seeds."""
    made_of = [[finalist.point for finalist in finalists], list(fresh_seeds(tune))]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]


def fresh_seeds(tune: Tune) -> range:
    """Return the seeds that follow those of the trials."""
    first = tune.seed + tune.seeds_per_trial
    return range(first, first + tune.finalist_seeds)


def queue_finalists(study: optuna.Study, finalists: list[Finalist], tune: Tune) -> None:
    """Queue every finalist from every fresh seed, those left out that are there."""
    trials = study.get_trials(deepcopy=False)
    there = [(trial.user_attrs[POINT], trial.user_attrs[SEED]) for trial in trials]
    for seed in fresh_seeds(tune):
        for finalist in finalists:
            if (finalist.point, seed) not in there:
                queue(study, {}, {POINT: finalist.point, SEED: seed})


def results(study: optuna.Study, finalists: list[Finalist]) -> list[Result]:
    """Return what the finalists reached, the lowest mean loss first."""
    found = []
    for finalist in finalists:
        losses, accuracies = {}, {}
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if trial.user_attrs[POINT] == finalist.point and trial.value is not None:
                losses[trial.user_attrs[SEED]] = trial.value
                accuracies[trial.user_attrs[SEED]] = trial.user_attrs[ACCURACY]
        if losses:
            found.append(Result(finalist, losses, accuracies))
    return sorted(found, key=lambda result: result.mean_loss)
