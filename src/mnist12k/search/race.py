"""The second round: the recipe itself and the best trials, trained again from fresh seeds.

With many trials, and one validation image worth 0.02 %, the best trial is partly the luckiest. So a
race chooses the challenger: all finalists train from one more seed per round, and whoever is behind
the leader by more than chance drops out. The verdict then compares challenger and recipe on seeds
that have chosen nothing.
"""

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from mnist12k.search.digest import digest_of
from mnist12k.search.intervals import mean_with_interval
from mnist12k.search.queue import FINALIST, POINT, SEED, enqueue, finished
from mnist12k.search.settings import MANY, SearchSettings, Tune
from mnist12k.search.space import Cases, Point, as_parameters, parse_space, with_lists
from mnist12k.search.trial import ACCURACY

START = "start"  # the recipe itself, as a finalist
RACE, VERDICT = "race", "verdict"  # rounds
COLUMNS = ["trial", "seed", "round", "validation_loss", "validation_accuracy"]
FEWEST_SEEDS = 3  # after which a finalist can drop out

Losses = Mapping[tuple[str, int], float]  # by finalist and seed; infinite if it diverged
Training = tuple[str, int]  # a finalist and a seed


class Race(NamedTuple):
    """Who is still racing beside the recipe, the seeds so far, and the trainings to do next.

    There are none once the race has ended.
    """

    challengers: list[str]
    seeds: Sequence[int]
    missing: list[Training]


class Verdict(NamedTuple):
    """Whether the challenger is better than the recipe: challenger minus recipe, over equal seeds.

    The mean difference of the validation losses, and its 95 % interval; None if too many diverged.
    """

    verdict: Literal["better", "worse", "no difference shown"]
    seeds: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None


def choose_finalists(study: optuna.Study, settings: SearchSettings) -> dict[str, Point]:
    """Return the points of the recipe itself, of the best trials, and of the best of every case.

    Their keys are `START` and the trials' numbers, best first. There are no more than the budget
    lets race from two seeds.
    """
    tune = settings.tune
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    ranked = sorted(complete, key=lambda trial: trial.value or 0)
    trainings = [settings.for_point({}, tune.seed)]
    points: dict[int, Point] = {}
    for trial in ranked:
        point = trial.user_attrs.get(POINT, with_lists(trial.params))
        training = settings.for_point(point, tune.seed)
        if training not in trainings:  # neither the recipe nor a better trial's twin
            trainings.append(training)
            points[trial.number] = point
    best = [*points][: tune.finalists]
    numbers = [*best, *best_of_cases(ranked, settings, points)]
    most = max(1, race_budget(tune) // 2 - 1)  # beside the recipe
    chosen = [*dict.fromkeys(numbers)][:most]
    in_order = [number for number in points if number in chosen]
    return {START: {}} | {str(number): points[number] for number in in_order}


def best_of_cases(
    ranked: Iterable[FrozenTrial], settings: SearchSettings, points: Mapping[int, Point]
) -> list[int]:
    """Return the number of the best trial in `points` of every case of the space."""
    space = parse_space(settings.tune.space)
    best: dict[tuple[str, str], int] = {}
    for trial in ranked:
        for name, dimension in space.items():
            if isinstance(dimension, Cases) and trial.number in points and name in trial.params:
                best.setdefault((name, trial.params[name]), trial.number)
    return [*best.values()]


def finalists_digest(finalists: Mapping[str, Point]) -> str:
    """Return 32 hexadecimal digits that identify the finalists' points."""
    return digest_of(list(finalists.values()))


def verdict_seeds(tune: Tune) -> range:
    """Return the seeds of the verdict: half of the budget, which no race reaches."""
    first = tune.seed + tune.seeds_per_trial + MANY
    return range(first, first + tune.finalist_budget // 4)


def race_budget(tune: Tune) -> int:
    """Return how many trainings the race may take."""
    return tune.finalist_budget - 2 * len(verdict_seeds(tune))


def race(losses: Losses, finalists: Sequence[str], tune: Tune) -> Race:
    """Return where the race stands, given the losses so far."""
    first = tune.seed + tune.seeds_per_trial
    left = race_budget(tune)
    racing = [*finalists]
    for seed in itertools.count(first):
        seeds = range(first, seed)
        challengers = [name for name in racing if name != START]
        if len(challengers) == 1 or left < len(racing):
            return Race(challengers, seeds, [])
        if missing := [(name, seed) for name in racing if (name, seed) not in losses]:
            return Race(challengers, seeds, missing)
        left -= len(racing)
        racing = still_racing(losses, racing, range(first, seed + 1))
    raise AssertionError  # the seeds do not end


def still_racing(losses: Losses, racing: Sequence[str], seeds: Sequence[int]) -> list[str]:
    """Return who has not dropped out: at least the leader, and the best beside the recipe."""
    ranked = sorted(racing, key=lambda name: mean_loss(losses, name, seeds))
    leader = ranked[0]
    challenger = next(name for name in ranked if name != START)
    return [
        name
        for name in racing
        if name in (leader, challenger) or not is_behind(losses, name, leader, seeds)
    ]


def is_behind(losses: Losses, name: str, leader: str, seeds: Sequence[int]) -> bool:
    """Return whether the 95 % interval of the paired difference to the leader is above zero."""
    if not math.isfinite(mean_loss(losses, name, seeds)):
        return True
    differences = [losses[name, seed] - losses[leader, seed] for seed in seeds]
    return len(differences) >= FEWEST_SEEDS and mean_with_interval(differences)[1] > 0


def mean_loss(losses: Losses, name: str, seeds: Iterable[int]) -> float:
    """Return a finalist's mean loss."""
    return statistics.mean(losses[name, seed] for seed in seeds)


def next_trainings(
    losses: Losses, finalists: Sequence[str], tune: Tune
) -> tuple[str, list[Training]]:
    """Return the challenger so far, and what to train next: for the race, then for the verdict."""
    challengers, seeds, missing = race(losses, finalists, tune)
    challenger = challengers[0]  # the best in the search
    if seeds:
        challenger = min(challengers, key=lambda name: mean_loss(losses, name, seeds))
    if not missing:
        pairs = [(name, seed) for seed in verdict_seeds(tune) for name in (challenger, START)]
        missing = [pair for pair in pairs if pair not in losses]
    return challenger, missing


def queue_trainings(
    study: optuna.Study,
    trainings: Iterable[Training],
    finalists: Mapping[str, Point],
    settings: SearchSettings,
) -> None:
    """Queue trainings of finalists, unless their trials exist."""
    space = parse_space(settings.tune.space)
    trials = study.get_trials(deepcopy=False)
    existing = [
        (trial.user_attrs[POINT], trial.user_attrs[SEED])
        for trial in trials
        if trial.state != TrialState.FAIL  # which has a copy, or has lost its worker too often
    ]
    for name, seed in trainings:
        point = finalists[name]
        if (point, seed) not in existing:
            # The parameters are fixed only so that dashboards show them.
            shown = as_parameters(point, space, partial=True)
            enqueue(study, shown, {POINT: point, SEED: seed, FINALIST: name})


def finalist_results(
    study: optuna.Study, finalists: Mapping[str, Point], tune: Tune
) -> pd.DataFrame:
    """Return one row per training, `COLUMNS`, in the finalists' order, then by seed.

    Loss and accuracy of a training that diverged are None.
    """
    rows = [
        (
            name,
            trial.user_attrs[SEED],
            VERDICT if trial.user_attrs[SEED] in verdict_seeds(tune) else RACE,
            trial.value,
            None if trial.value is None else trial.user_attrs[ACCURACY],
        )
        for name, point in finalists.items()
        for trial in sorted(finished(study), key=lambda trial: trial.user_attrs[SEED])
        if trial.user_attrs[POINT] == point
    ]
    results = pd.DataFrame(rows, columns=COLUMNS)
    return results.drop_duplicates(["trial", "seed"], ignore_index=True)


def losses_of(results: pd.DataFrame) -> dict[tuple[str, int], float]:
    """Return the losses of `finalist_results`; infinite where a training diverged."""
    filled = results["validation_loss"].astype(float).fillna(math.inf)
    return dict(zip(zip(results["trial"], results["seed"], strict=True), filled, strict=True))


def verdict(losses: Losses, challenger: str, tune: Tune) -> Verdict:
    """Return whether the challenger is better than the recipe, on the verdict's seeds."""
    seeds = [seed for seed in verdict_seeds(tune) if math.isfinite(losses[START, seed])]
    if any(math.isinf(losses[challenger, seed]) for seed in seeds):
        return Verdict("worse", len(seeds))
    if len(seeds) < 2:
        return Verdict("no difference shown", len(seeds))
    mean, low, high = mean_with_interval(
        [losses[challenger, seed] - losses[START, seed] for seed in seeds]
    )
    if low <= 0 <= high:
        return Verdict("no difference shown", len(seeds), mean, low, high)
    return Verdict("better" if high < 0 else "worse", len(seeds), mean, low, high)
