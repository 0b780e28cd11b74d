"""The race of the finalists, and the verdict."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import LOADED
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial
from scipy import stats
from tune_command import with_tune

from mnist12k.search.queue import POINT
from mnist12k.search.race import (
    START,
    choose_finalists,
    next_trainings,
    race_budget,
    verdict,
    verdict_seeds,
)
from mnist12k.search.settings import Tune

SETTINGS = LOADED.search()
TUNE = SETTINGS.tune


def run_race(
    tune: Tune, names: list[str], loss: Callable[[str, int], float]
) -> tuple[str, dict[tuple[str, int], float]]:
    """Train in a race whatever it asks for; return its challenger and all losses."""
    losses: dict[tuple[str, int], float] = {}
    while True:
        challenger, missing = next_trainings(losses, names, tune)
        if not missing:
            return challenger, losses
        losses |= {(name, seed): loss(name, seed) for name, seed in missing}


def noisy(means: Mapping[str, float], random: np.random.Generator) -> Callable[[str, int], float]:
    """Return losses with the noise of this project's: 0.001 from one training to the next."""
    return lambda name, _: float(random.normal(means[name], 0.001))


@given(
    budget=st.integers(8, 60),
    count=st.integers(1, 6),
    seed=st.integers(0, 1000),
    diverges=st.floats(0, 1),
)
def test_a_race_stays_within_its_budget_and_its_verdict_has_seeds_of_its_own(
    budget: int, count: int, seed: int, diverges: float
) -> None:
    tune = TUNE.model_copy(update={"finalist_budget": budget})
    names = [START, *map(str, range(count))]
    random = np.random.default_rng(seed)

    def loss(_name: str, _seed: int) -> float:
        return math.inf if random.random() < diverges else float(random.normal(0.02, 0.001))

    challenger, losses = run_race(tune, names, loss)
    assert challenger in names[1:]
    judged = {(name, s) for name in (challenger, START) for s in verdict_seeds(tune)}
    assert judged <= losses.keys()
    raced = losses.keys() - judged
    assert len(raced) <= race_budget(tune)
    assert len(losses) <= budget
    assert not {s for _, s in raced} & set(verdict_seeds(tune))
    assert verdict(losses, challenger, tune).verdict in ("better", "worse", "no difference shown")


def test_a_clearly_better_finalist_wins_and_is_shown_to_be_better() -> None:
    means = {START: 0.025, "7": 0.0221, "3": 0.022, "9": 0.03}
    challenger, losses = run_race(TUNE, [*means], noisy(means, np.random.default_rng(1)))
    assert challenger in ("3", "7")
    assert verdict(losses, challenger, TUNE).verdict == "better"
    raced = [name for name, seed in losses if seed not in verdict_seeds(TUNE)]
    assert raced.count("9") < raced.count(challenger)  # it has dropped out


def test_a_clearly_worse_challenger_is_said_to_be_worse() -> None:
    means = {START: 0.02, "1": 0.03}
    challenger, losses = run_race(TUNE, [*means], noisy(means, np.random.default_rng(1)))
    assert verdict(losses, challenger, TUNE).verdict == "worse"


def test_without_a_difference_one_is_claimed_in_five_percent_of_the_searches() -> None:
    """However many finalists there are, since the verdict's seeds have chosen none of them."""
    means = dict.fromkeys([START, *map(str, range(7))], 0.02)
    random = np.random.default_rng(1)
    claims = 0
    for _ in range(400):
        challenger, losses = run_race(TUNE, [*means], noisy(means, random))
        claims += verdict(losses, challenger, TUNE).verdict != "no difference shown"
    assert stats.binomtest(claims, 400, 0.05).pvalue > 0.005


def test_the_verdict_is_scipys_paired_t_test() -> None:
    random = np.random.default_rng(2)
    seeds = verdict_seeds(TUNE)
    one, other = (random.normal(mean, 0.001, len(seeds)) for mean in (0.0205, 0.02))
    losses = {("4", seed): float(loss) for seed, loss in zip(seeds, one, strict=True)}
    losses |= {(START, seed): float(loss) for seed, loss in zip(seeds, other, strict=True)}
    found = verdict(losses, "4", TUNE)
    test = stats.ttest_rel(one, other)
    interval = test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert (found.verdict == "no difference shown") == (test.pvalue >= 0.05)
    assert found.seeds == TUNE.finalist_budget // 4


def test_a_challenger_that_diverges_once_is_worse() -> None:
    seeds = verdict_seeds(TUNE)
    losses = {(name, seed): 0.02 for name in (START, "4") for seed in seeds}
    losses["4", seeds[3]] = math.inf
    assert verdict(losses, "4", TUNE).verdict == "worse"


def finished_study(losses: Mapping[str, list[float]]) -> optuna.Study:
    """Return a study with complete trials of these losses, by schedule."""
    study = optuna.create_study()
    cases = {"one_cycle": {"warm_up": 0.2}, "cosine": {"final_fraction": 0.0}, "linear": {}}
    for schedule, own in losses.items():
        for number, loss in enumerate(own):
            point = {"learning_rate": 0.1 + number / 100, "schedule": schedule, **cases[schedule]}
            study.add_trial(complete_trial(point, loss))
    return study


def complete_trial(point: Mapping[str, Any], loss: float) -> FrozenTrial:
    """Return a trial that has drawn a point."""
    distributions: dict[str, BaseDistribution] = {
        name: CategoricalDistribution([value]) for name, value in point.items()
    }
    return optuna.trial.create_trial(params=dict(point), distributions=distributions, value=loss)


def test_finalists_are_the_recipe_the_best_trials_and_the_best_of_every_case() -> None:
    study = finished_study({"one_cycle": [0.1, 0.2, 0.3], "linear": [0.4, 0.6], "cosine": [0.5]})
    finalists = choose_finalists(study, with_tune(SETTINGS, finalists=2))
    assert [*finalists] == [START, "0", "1", "3", "5"]
    assert finalists["3"]["schedule"] == "linear"
    assert finalists[START] == {}


def test_the_recipe_itself_as_a_trial_is_no_second_finalist() -> None:
    study = optuna.create_study()
    trial = optuna.trial.create_trial(value=0.1, user_attrs={POINT: {}})
    study.add_trial(trial)
    start = SETTINGS.start
    point = {"learning_rate": start.learning_rate, "warm_up": start.warm_up}
    study.add_trial(complete_trial(point | {"schedule": "one_cycle"}, 0.1))
    assert choose_finalists(study, SETTINGS) == {START: {}}


def test_there_are_no_more_finalists_than_the_budget_lets_race_from_two_seeds() -> None:
    study = finished_study({"one_cycle": [0.1, 0.2, 0.3], "linear": [0.4], "cosine": [0.5]})
    finalists = choose_finalists(study, with_tune(SETTINGS, finalists=3, finalist_budget=12))
    assert [*finalists] == [START, "0", "1"]
