from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial

from mnist12k.digits.dataset import Digits, split
from mnist12k.params import Params
from mnist12k.search.study import ATTEMPT
from mnist12k.search.trial import Surplus, is_whole, point_of, run_trial, suggest, training
from mnist12k.space import parse_space


@pytest.fixture
def digits(small_training_digits: Digits) -> tuple[Digits, Digits]:
    return split(small_training_digits, 100)


def in_study(
    params: Params, digits: tuple[Digits, Digits], point: dict[str, Any], **changes: object
) -> optuna.trial.FrozenTrial:
    """Run one trial of fixed parameters, and return what the study keeps of it."""
    tune = params.tune.model_copy(update={"space": {"learning_rate": [0.05, 1e20]}} | changes)
    recipe = params.recipes["fast"].model_copy(update={"epochs": 2, "rotation": 0})
    params = params.model_copy(update={"tune": tune, "recipes": {"fast": recipe}})
    study = optuna.create_study()
    study.enqueue_trial(point, user_attrs={ATTEMPT: 1})
    study.optimize(lambda trial: run_trial(trial, params, digits), n_trials=1)
    return study.trials[0]


def test_only_the_chosen_case_has_its_parameters() -> None:
    space = parse_space({"schedule": {"linear": {}, "cosine": {"final": [0.0, 0.1]}}})
    assert suggest(FixedTrial({"schedule": "linear"}), space) == {"schedule": "linear"}
    chosen = {"schedule": "cosine", "final": 0.1}
    assert suggest(FixedTrial(chosen), space) == chosen


def test_one_rate_a_block_becomes_a_list_of_the_network(params: Params) -> None:
    rates = {f"dropout.{block}": block / 100 for block in range(6)}
    point = point_of({"learning_rate": 0.1, **rates})
    assert point == {"learning_rate": 0.1, "dropout": [0, 0.01, 0.02, 0.03, 0.04, 0.05]}
    assert training(params, point, seed=3).dropout == tuple(point["dropout"])


@pytest.mark.parametrize(
    ("name", "whole"),
    [("epochs", True), ("step_size", True), ("dropout.3", False), ("gamma", False)],
)
def test_whole_numbers_are_searched_where_the_recipe_has_them(name: str, whole: bool) -> None:
    assert is_whole(name) is whole


def test_a_trial_trains_as_the_train_stage_would(params: Params) -> None:
    changes = {"learning_rate": 0.3, "schedule": "cosine", "final": 0.1}
    settings = training(params, changes, seed=1)
    given = params.train.model_dump() | params.recipes["fast"].model_dump() | changes
    assert settings.model_dump() == given | {"recipe": "fast", "seed": 1}


def test_the_result_is_the_last_epochs_validation_loss(
    params: Params, digits: tuple[Digits, Digits]
) -> None:
    trial = in_study(params, digits, {"learning_rate": 0.05})
    epochs = trial.user_attrs["mnist12k.epochs"]
    assert len(epochs) == 2
    assert trial.value == epochs[-1][4] == trial.intermediate_values[2]


def test_a_trial_that_diverges_is_pruned_and_stops_nothing(
    params: Params, digits: tuple[Digits, Digits]
) -> None:
    trial = in_study(params, digits, {"learning_rate": 1e20})
    assert trial.state == optuna.trial.TrialState.PRUNED


def test_wilcoxon_compares_seed_by_seed(params: Params, digits: tuple[Digits, Digits]) -> None:
    point = {"learning_rate": 0.05}
    trial = in_study(params, digits, point, pruner="wilcoxon", seeds_per_trial=2)
    assert sorted(trial.intermediate_values) == [1, 2]
    assert trial.value == pytest.approx(sum(trial.intermediate_values.values()) / 2)
    assert len(trial.user_attrs["mnist12k.epochs"]) == 4


def test_a_trial_that_nobody_queued_is_not_trained(
    params: Params, digits: tuple[Digits, Digits]
) -> None:
    study = optuna.create_study()
    with pytest.raises(Surplus):
        run_trial(study.ask(), params, digits)
