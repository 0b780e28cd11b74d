"""Trials: their hyperparameters, their training, and their validation losses.

On accelerators that one trial leaves mostly idle, a batch of trials is trained as one program.
"""

import math
import statistics
from contextlib import suppress

import optuna
from optuna.trial import FrozenTrial, TrialState

from mnist12k.cnn.device import pick_device
from mnist12k.cnn.fit import fit
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.network import new_network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import Digits
from mnist12k.errors import UserError
from mnist12k.processes import register_process
from mnist12k.search.fused import fit_fused
from mnist12k.search.queue import ATTEMPT, POINT, PROCESS, SEED, queued, signs_of_life
from mnist12k.search.samplers import NumberedSampler
from mnist12k.search.settings import NETWORK, SearchSettings, is_integer, reason
from mnist12k.search.space import Cases, Choices, Point, Range, Space, parse_space, with_lists

# User attributes of a trial.
EPOCHS, ACCURACY = "mnist12k.epochs", "mnist12k.validation_accuracy"
IMPOSSIBLE = "mnist12k.impossible"  # why its network cannot be trained


def run_trial(
    trial: optuna.Trial, settings: SearchSettings, digits: tuple[Digits, Digits]
) -> float:
    """Train on (training, validation) digits; return the validation loss, averaged over seeds.

    Raises optuna.TrialPruned if the pruner stops the trial or it diverges, and NotQueued.
    """
    trains = start_trial(trial, settings)
    compares_seeds = settings.tune.pruner == "wilcoxon"
    epochs: list[Epoch] = []
    last_epochs: list[Epoch] = []  # one per seed

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        if not compares_seeds and not last_epochs:  # the first seed
            report(trial, epoch, epoch.epoch, trains[0].epochs)

    try:
        for number, train in enumerate(trains, start=1):
            network = new_network(train, pick_device(train.device))
            last_epochs.append(fit(network, *digits, train, on_epoch)[-1])
            if compares_seeds:
                report(trial, last_epochs[-1], number, len(trains))
    except UserError as error:  # the training diverged
        raise optuna.TrialPruned from error
    finally:
        store_epochs(trial, epochs, last_epochs or epochs[-1:])
    return statistics.mean(validation_loss(epoch) for epoch in last_epochs)


def run_batch(study: optuna.Study, settings: SearchSettings, digits: tuple[Digits, Digits]) -> None:
    """Take up to `tune.together` trials from the queue, train them as one, and tell the results.

    A pruned or diverged trial is marked as pruned but trains on, since the program's shapes are
    fixed; training stops early once all trials are pruned.
    """
    trials: list[optuna.Trial] = []
    trains: list[Train] = []
    while queued(study) and len(trials) < settings.tune.together:
        study.sampler = NumberedSampler(settings.tune, study)
        trial = study.ask()
        try:
            trains += start_trial(trial, settings)
        except NotQueued:
            study.tell(trial, state=TrialState.FAIL)
            break
        trials.append(trial)
    if not trials:
        return
    epochs: list[list[Epoch]] = [[] for _ in trials]
    pruned: set[int] = set()

    def on_epoch(model: int, epoch: Epoch) -> None:
        try:
            if not math.isfinite(epoch.train_loss):  # not recorded, as in `fit`
                raise optuna.TrialPruned
            epochs[model].append(epoch)
            if model not in pruned:
                report(trials[model], epoch, epoch.epoch, trains[model].epochs)
        except optuna.TrialPruned:
            pruned.add(model)
        if len(pruned) == len(trials):
            raise optuna.TrialPruned

    device = pick_device(settings.train.device)
    networks = [new_network(train, device) for train in trains]
    with signs_of_life(study, trials), suppress(optuna.TrialPruned):
        fit_fused(networks, *digits, trains, on_epoch)
    for model, trial in enumerate(trials):
        store_epochs(trial, epochs[model], epochs[model][-1:])
        if model in pruned:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, validation_loss(epochs[model][-1]))


def start_trial(trial: optuna.Trial, settings: SearchSettings) -> list[Train]:
    """Return the trainings of a trial from the queue, one per seed.

    Raises NotQueued, and optuna.TrialPruned if its network is impossible or above the budget.
    """
    # A trial queued by others has fixed parameters. Optuna has no public way to ask for them.
    fixed = trial._fixed_params
    if ATTEMPT not in trial.user_attrs and not fixed:
        raise NotQueued
    trial.set_user_attr(PROCESS, register_process())
    tune = settings.tune
    seeds = [*range(tune.seed, tune.seed + tune.seeds_per_trial)]
    try:
        space = parse_space(tune.space)
        if POINT in trial.user_attrs:  # of the recipe itself, or of a finalist, which has one seed
            own = [trial.user_attrs[SEED]] if SEED in trial.user_attrs else seeds
            if fixed:
                suggest(trial, space)  # for dashboards
            return [settings.for_point(trial.user_attrs[POINT], seed) for seed in own]
        point = suggest(trial, space)
        if NETWORK & point.keys() and (budget := settings.train.parameter_budget) is not None:
            _, architecture = settings.network(point)
            trial.set_constraint("parameters", architecture.parameters() - budget)
        return [settings.for_point(point, seed) for seed in seeds]
    except ValueError as error:
        trial.set_user_attr(IMPOSSIBLE, reason(error))
        raise optuna.TrialPruned from error


def suggest(trial: optuna.trial.BaseTrial, space: Space) -> Point:
    """Let the sampler choose a value for each parameter, including those of the chosen cases."""
    for name, dimension in space.items():
        match dimension:
            case Range(low, high, log, step) if is_integer(name):
                trial.suggest_int(name, int(low), int(high), log=log, step=int(step or 1))
            case Range(low, high, log, step):
                trial.suggest_float(name, low, high, log=log, step=step)
            case Choices(values):
                trial.suggest_categorical(name, values)
            case Cases(spaces):
                suggest(trial, spaces[trial.suggest_categorical(name, list(spaces))])
    return with_lists(trial.params)


def report(trial: optuna.Trial, epoch: Epoch, step: int, last_step: int) -> None:
    """Report an epoch's validation loss; raise optuna.TrialPruned if pruned or not finite."""
    loss = validation_loss(epoch)
    if not math.isfinite(loss):
        raise optuna.TrialPruned
    trial.report(loss, step)
    if step < last_step and trial.should_prune():
        raise optuna.TrialPruned


def store_epochs(trial: optuna.Trial, epochs: list[Epoch], last_epochs: list[Epoch]) -> None:
    """Store the epochs with the trial, and the mean accuracy of the last one of each seed."""
    trial.set_user_attr(EPOCHS, [list(epoch) for epoch in epochs])
    if last_epochs:
        accuracy = statistics.mean(epoch.validation_accuracy or 0 for epoch in last_epochs)
        trial.set_user_attr(ACCURACY, accuracy)


def epochs_of(trial: FrozenTrial) -> list[Epoch]:
    """Return the epochs that were stored with a trial."""
    return [Epoch(*epoch) for epoch in trial.user_attrs.get(EPOCHS, [])]


def validation_loss(epoch: Epoch) -> float:
    """Return the validation loss; a search always has a hold-out set."""
    assert epoch.validation_loss is not None
    return epoch.validation_loss


class NotQueued(Exception):  # noqa: N818 - not an error: another worker took the last trial
    """Raised for a trial that Optuna created because the queue was empty."""
