import math
import warnings

import pytest
import torch
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR

from mnist12k.cnn.schedules import cosine, learning_rate, linear, one_cycle
from mnist12k.params import Params


def torchs(scheduler: LRScheduler, steps: int) -> list[float]:
    """Return the rates that one of torch's schedulers gives to each step."""
    rates = []
    for _ in range(steps):
        rates.append(float(scheduler.get_last_lr()[0]))
        with warnings.catch_warnings():  # that no optimizer has stepped is no mistake here
            warnings.simplefilter("ignore")
            scheduler.step()
    return rates


def optimizer(rate: float = 1.0) -> torch.optim.SGD:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate, momentum=0.9)


def test_the_seeds_rates_are_torchs_step_lr(params: Params) -> None:
    ours = [learning_rate(params.recipes["reference"], 469 * epoch, 469) for epoch in range(19)]
    assert ours == pytest.approx(torchs(StepLR(optimizer(0.01), 10, 0.1), 19), rel=1e-12)


def test_steps_down_fall_between_two_epochs_and_not_before(params: Params) -> None:
    recipe = params.recipes["reference"]
    rates = [learning_rate(recipe, step, 5) for step in (49, 50)]
    assert rates == pytest.approx([0.01, 0.001])


@pytest.mark.parametrize("warm_up", [0.1, 0.2, 0.5])
def test_one_cycle_is_torchs(warm_up: float) -> None:
    theirs = OneCycleLR(optimizer(), 0.25, total_steps=200, pct_start=warm_up)
    ours = [one_cycle(step, 0.25, 200, warm_up) for step in range(200)]
    assert ours == pytest.approx(torchs(theirs, 200), rel=1e-9)


def test_one_cycle_without_a_warm_up_starts_at_its_highest() -> None:
    rates = [one_cycle(step, 0.5, 10, 0) for step in range(10)]
    assert rates[0] == 0.5
    assert rates == sorted(rates, reverse=True)


def test_cosine_and_linear_follow_their_formulas_to_zero() -> None:
    for step in range(101):
        assert cosine(step, 2, 100, 0) == pytest.approx(1 + math.cos(math.pi * step / 100))
        assert linear(step, 2, 100) == pytest.approx(2 - step / 50)
    assert cosine(100, 2, 100, 0) == linear(100, 2, 100) == 0


@pytest.mark.parametrize("final", [0.1, 0.5])
def test_cosine_ends_at_its_final_share(final: float) -> None:
    rates = [cosine(step, 2, 100, final) for step in range(101)]
    assert rates[0] == 2
    assert rates[-1] == pytest.approx(2 * final)
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("schedule", ["step", "one_cycle", "cosine", "linear"])
def test_every_schedule_stays_within_zero_and_the_highest(params: Params, schedule: str) -> None:
    changes = {"schedule": schedule, "step_size": 2, "gamma": 0.5, "warm_up": 0.3, "epochs": 4}
    recipe = params.recipes["best"].model_copy(update=changes)
    rates = [learning_rate(recipe, step, 10) for step in range(40)]
    assert max(rates) == pytest.approx(recipe.learning_rate)
    assert min(rates) > 0
    assert rates[-1] < rates[0] or schedule == "one_cycle"
