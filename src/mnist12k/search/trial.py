"""One trial: its parameters, its training on the held-out images, and its result."""

import math
import statistics
from collections.abc import Mapping
from typing import Any

import optuna

from mnist12k.cnn.device import pick_device
from mnist12k.cnn.fit import fit
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.network import new_network
from mnist12k.digits.dataset import Digits
from mnist12k.errors import UserError
from mnist12k.params import Params, Recipe, Train
from mnist12k.processes import this_process
from mnist12k.search.study import ATTEMPT, POINT, PROCESS, SEED, Point
from mnist12k.space import Cases, Choices, Each, Range, Space, parse_space

EPOCHS, ACCURACY = "mnist12k.epochs", "mnist12k.validation_accuracy"


class Surplus(Exception):  # noqa: N818 - no error: the queue had just run empty
    """Raised by a trial that was not in the queue."""


def suggest(trial: optuna.trial.BaseTrial, space: Space) -> Point:
    """Let the sampler choose a value for each parameter, and for those of the case it chose."""
    for name, dimension in space.items():
        match dimension:
            case Range():
                _suggest_number(trial, name, dimension)
            case Choices(values):
                trial.suggest_categorical(name, values)
            case Each(ranges):
                for index, each in enumerate(ranges):
                    _suggest_number(trial, f"{name}.{index}", each)
            case Cases(spaces):
                suggest(trial, spaces[trial.suggest_categorical(name, list(spaces))])
    return point_of(trial.params)


def point_of(suggested: Mapping[str, Any]) -> Point:
    """Gather dropout.0, dropout.1, ... into a list; the rest is named as in params.yaml already."""
    point: Point = {}
    for key, value in suggested.items():
        name, dot, _ = key.partition(".")
        point[name] = [*point.get(name, []), value] if dot else value
    return point


def _suggest_number(trial: optuna.trial.BaseTrial, name: str, within: Range) -> None:
    if is_whole(name):
        trial.suggest_int(name, int(within.low), int(within.high), log=within.log)
    else:
        trial.suggest_float(name, within.low, within.high, log=within.log)


def is_whole(name: str) -> bool:
    """Tell whether a recipe's parameter is an integer."""
    described = Recipe.model_json_schema()["properties"][name.partition(".")[0]]
    return "integer" in (kind.get("type") for kind in described.get("anyOf", [described]))


def training(params: Params, point: Mapping[str, Any], seed: int) -> Train:
    """Return the training of a point of the space: the recipe that the search starts from, changed.

    Its device and its held-out images are those of params.train.
    """
    recipe = params.recipes[params.tune.recipe].model_dump() | dict(point)
    given = {name: getattr(params.train, name) for name in NOT_SEARCHED}
    return Train(recipe=params.tune.recipe, seed=seed, **given, **recipe)


NOT_SEARCHED = ("device", "deterministic", "validation_size")


def choose(trial: optuna.Trial, params: Params) -> tuple[Point, range]:
    """Return a trial's point and the seeds that it trains from; a finalist brings its own."""
    if POINT in trial.user_attrs:
        seed = trial.user_attrs[SEED]
        return trial.user_attrs[POINT], range(seed, seed + 1)
    tune = params.tune
    point = suggest(trial, parse_space(tune.space))
    return point, range(tune.seed, tune.seed + tune.seeds_per_trial)


def run_trial(trial: optuna.Trial, params: Params, digits: tuple[Digits, Digits]) -> float:
    """Train one trial; return its validation loss, the mean over its seeds.

    Raises optuna.TrialPruned for one that is not worth going on with, and for one that diverges.
    """
    if ATTEMPT not in trial.user_attrs:
        raise Surplus
    trial.set_user_attr(PROCESS, this_process())
    point, seeds = choose(trial, params)
    by_seed = params.tune.pruner == "wilcoxon"
    finals: list[Epoch] = []
    epochs: list[Epoch] = []
    try:
        for number, seed in enumerate(seeds, start=1):
            by_epoch = trial if number == 1 and not by_seed else None
            finals.append(train(training(params, point, seed), digits, epochs, by_epoch))
            if by_seed:
                _report(trial, finals[-1], number, len(seeds))
    except UserError as error:  # diverged
        raise optuna.TrialPruned from error
    finally:
        keep(trial, epochs, finals or epochs[-1:])
    return statistics.mean(loss(epoch) for epoch in finals)


def keep(trial: optuna.Trial, epochs: list[Epoch], last: list[Epoch]) -> None:
    """Keep with a trial its epochs, and the mean accuracy of the `last` of every seed."""
    trial.set_user_attr(EPOCHS, [list(epoch) for epoch in epochs])
    if last:
        accuracy = statistics.mean(epoch.validation_accuracy or 0 for epoch in last)
        trial.set_user_attr(ACCURACY, accuracy)


def train(
    settings: Train,
    digits: tuple[Digits, Digits],
    epochs: list[Epoch],
    trial: optuna.Trial | None,
) -> Epoch:
    """Train once by `fit`, add to `epochs` as they end, and return the last.

    A `trial` hears of each epoch's validation loss, and may raise optuna.TrialPruned.
    """

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        if trial is not None:
            _report(trial, epoch, epoch.epoch, settings.epochs)

    network = new_network(settings.dropout, settings.seed, pick_device(settings.device))
    return fit(network, *digits, settings, on_epoch)[-1]


def _report(trial: optuna.Trial, epoch: Epoch, step: int, last: int) -> None:
    """Report the latest loss; raise optuna.TrialPruned if it is hopeless, or no number."""
    if not math.isfinite(loss(epoch)):
        raise optuna.TrialPruned
    trial.report(loss(epoch), step)
    if step < last and trial.should_prune():
        raise optuna.TrialPruned


def loss(epoch: Epoch) -> float:
    """Return the validation loss of an epoch, which in a search there always is."""
    assert epoch.validation_loss is not None
    return epoch.validation_loss
