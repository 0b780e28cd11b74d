"""Who chooses the points of a search, and who stops trials early."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from mnist12k.search.queue import FIRST_NUMBER, finished
from mnist12k.search.settings import SearchSettings, Tune
from mnist12k.search.space import Cases, Choices, Space

RANDOM_TRIALS = 10  # before TPE, CMA-ES and the Gaussian process begin


class NumberedSampler(BaseSampler):
    """The sampler of params.yaml, seeded for each trial by `tune.seed` and the trial's number.

    Workers that start together therefore draw different points, and an interrupted search those
    that it would have drawn without the interruption.
    """

    def __init__(self, tune: Tune, study: optuna.Study) -> None:
        self.tune = tune
        self.study = study
        self.sampler: BaseSampler = RandomSampler()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Make the trial's own sampler."""
        number = trial.user_attrs.get(FIRST_NUMBER, trial.number)
        seed = int(np.random.SeedSequence([self.tune.seed, number]).generate_state(1)[0])
        # Not left to TPE, which under Hyperband counts random trials for each bracket.
        random = len(finished(self.study)) < RANDOM_TRIALS
        self.sampler = RandomSampler(seed) if random else _sampler(self.tune.sampler, seed)
        self.sampler.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return what the trial's sampler draws together."""
        return self.sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw several parameters together."""
        return self.sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one parameter."""
        return self.sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Let the trial's sampler store what it needs."""
        self.sampler.after_trial(study, trial, state, values)


def _sampler(name: str, seed: int) -> BaseSampler:
    match name:
        case "tpe":
            return TPESampler(seed=seed, group=True, n_startup_trials=0)
        case "gp":
            return GPSampler(seed=seed, warn_independent_sampling=False, n_startup_trials=0)
        case "cma_es":
            return CmaEsSampler(seed=seed, warn_independent_sampling=False, n_startup_trials=0)
        case _:  # random, or grid, whose points are in the queue
            return RandomSampler(seed)


def not_searched(tune: Tune, space: Space) -> list[str]:
    """Return the parameters that the sampler draws at random, whatever the trials show."""
    if tune.sampler != "cma_es":
        return []
    names: list[str] = []
    for name, dimension in space.items():
        if isinstance(dimension, Choices | Cases):
            names.append(name)
        if isinstance(dimension, Cases):
            names += [inner for case in dimension.spaces.values() for inner in case]
    return [*dict.fromkeys(names)]


def new_pruner(settings: SearchSettings) -> BasePruner:
    """Return the chosen pruner; a step is an epoch, or for Wilcoxon's a seed."""
    match settings.tune.pruner:
        case "hyperband":
            return HyperbandPruner(min_resource=1, max_resource=settings.start.epochs)
        case "median":
            return MedianPruner(n_startup_trials=2)  # Optuna's 5 are an eighth of 40 trials
        case "wilcoxon":
            return WilcoxonPruner()
        case "none":
            return NopPruner()
