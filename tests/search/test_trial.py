from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial, FrozenTrial, TrialState
from tune_command import with_tune

from mnist12k.digits.dataset import Digits, split
from mnist12k.params import Params
from mnist12k.search.queue import enqueue
from mnist12k.search.settings import SearchSettings, is_integer
from mnist12k.search.space import parse_space, with_lists
from mnist12k.search.trial import NotQueued, epochs_of, run_trial, suggest


@pytest.fixture
def settings(params: Params) -> SearchSettings:
    """A search that starts from two epochs."""
    settings = params.search()
    start = settings.start.model_copy(update={"epochs": 2, "rotation": 0})
    return with_tune(settings._replace(start=start), space={"learning_rate": [0.05, 1e20]})


@pytest.fixture
def digits(small_training_digits: Digits) -> tuple[Digits, Digits]:
    return split(small_training_digits, 100)


def run(
    settings: SearchSettings, digits: tuple[Digits, Digits], point: dict[str, Any]
) -> FrozenTrial:
    """Run one trial at a point, and return what the study stores of it."""
    study = optuna.create_study()
    enqueue(study, point, {})
    study.optimize(lambda trial: run_trial(trial, settings, digits), n_trials=1)
    return study.trials[0]


def test_only_the_chosen_case_has_its_parameters() -> None:
    space = parse_space({"schedule": {"linear": {}, "cosine": {"final_fraction": [0.0, 0.1]}}})
    assert suggest(FixedTrial({"schedule": "linear"}), space) == {"schedule": "linear"}
    chosen = {"schedule": "cosine", "final_fraction": 0.1}
    assert suggest(FixedTrial(chosen), space) == chosen


def test_rates_per_block_become_one_list(settings: SearchSettings) -> None:
    rates = {f"dropout.{block}": block / 100 for block in range(6)}
    point = with_lists({"learning_rate": 0.1, **rates})
    assert point == {"learning_rate": 0.1, "dropout": [0, 0.01, 0.02, 0.03, 0.04, 0.05]}
    assert settings.for_point(point, seed=3).dropout == tuple(point["dropout"])


def test_null_and_a_recipes_own_value_are_the_same_training(settings: SearchSettings) -> None:
    own = settings.start.batch_size
    training = settings.for_point({"batch_size": None, "learning_rate": 0.2}, 1)
    assert training == settings.for_point({"batch_size": own, "learning_rate": 0.2}, 1)


def test_a_range_with_a_step_is_drawn_in_steps() -> None:
    space = parse_space(
        {
            "rotation": {"low": 0, "high": 12, "step": 4},
            "epochs": {"low": 2, "high": 6, "step": 2},
            "momentum": 0.9,
        }
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(1))
    points = [suggest(study.ask(), space) for _ in range(50)]
    assert {point["rotation"] for point in points} == {0, 4, 8, 12}
    assert {point["epochs"] for point in points} == {2, 4, 6}
    assert {point["momentum"] for point in points} == {0.9}


@pytest.mark.parametrize(
    ("name", "integer"),
    [("epochs", True), ("step_size", True), ("dropout.3", False), ("gamma", False)],
)
def test_integers_are_the_parameters_that_are_integers_in_a_recipe(
    name: str, integer: bool
) -> None:
    assert is_integer(name) is integer


def test_a_trial_trains_as_the_stage_train_would(params: Params) -> None:
    point = {"learning_rate": 0.3, "schedule": "cosine", "final_fraction": 0.1}
    train = params.search().for_point(point, seed=1)
    expected = params.train.model_dump() | params.recipes["fast"].model_dump() | point
    assert train.model_dump() == expected | {"recipe": "fast", "seed": 1}


def test_the_value_is_the_last_epochs_validation_loss(
    settings: SearchSettings, digits: tuple[Digits, Digits]
) -> None:
    trial = run(settings, digits, {"learning_rate": 0.05})
    first, last = epochs_of(trial)
    assert trial.value == last.validation_loss
    assert trial.intermediate_values == {1: first.validation_loss, 2: last.validation_loss}


def test_a_diverged_trial_is_pruned(
    settings: SearchSettings, digits: tuple[Digits, Digits]
) -> None:
    assert run(settings, digits, {"learning_rate": 1e20}).state == TrialState.PRUNED


def test_the_wilcoxon_pruner_compares_seeds(
    settings: SearchSettings, digits: tuple[Digits, Digits]
) -> None:
    settings = with_tune(settings, pruner="wilcoxon", seeds_per_trial=2)
    trial = run(settings, digits, {"learning_rate": 0.05})
    assert sorted(trial.intermediate_values) == [1, 2]
    assert trial.value == pytest.approx(sum(trial.intermediate_values.values()) / 2)
    assert len(epochs_of(trial)) == 4


def test_a_trial_that_was_not_queued_is_not_run(
    settings: SearchSettings, digits: tuple[Digits, Digits]
) -> None:
    with pytest.raises(NotQueued):
        run_trial(optuna.create_study().ask(), settings, digits)
