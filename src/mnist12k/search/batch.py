"""A batch of trials trained as one program: for accelerators that one trial leaves mostly idle."""

import math
from contextlib import ExitStack, suppress

import optuna
from optuna.storages._heartbeat import get_heartbeat_thread  # ask and tell has no public heartbeat
from optuna.trial import TrialState

from mnist12k.cnn.device import pick_device
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.network import new_network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import Digits
from mnist12k.search.fused import fit_fused
from mnist12k.search.queue import queued
from mnist12k.search.settings import SearchSettings
from mnist12k.search.study import new_sampler
from mnist12k.search.trial import NotQueued, report, start_trial, store_epochs, validation_loss


def run_batch(study: optuna.Study, settings: SearchSettings, digits: tuple[Digits, Digits]) -> None:
    """Take up to `tune.together` trials from the queue, train them as one, and tell the results.

    A pruned or diverged trial is marked as pruned but trains on, since the program's shapes are
    fixed; training stops early once all trials are pruned.
    """
    trials: list[optuna.Trial] = []
    trains: list[Train] = []
    while queued(study) and len(trials) < settings.tune.together:
        study.sampler = new_sampler(settings.tune, study)
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
        if math.isfinite(epoch.train_loss):
            epochs[model].append(epoch)
        else:  # diverged: not recorded, as `fit` raises before it records such an epoch
            pruned.add(model)
        if model not in pruned:
            try:
                report(trials[model], epoch, epoch.epoch, trains[model].epochs)
            except optuna.TrialPruned:
                pruned.add(model)
        if len(pruned) == len(trials):
            raise optuna.TrialPruned

    device = pick_device(settings.train.device)
    networks = [new_network(train.dropout, train.seed, device) for train in trains]
    with ExitStack() as stack:
        for trial in trials:
            heartbeat = get_heartbeat_thread(trial._trial_id, study._storage)
            stack.enter_context(heartbeat)  # type: ignore[arg-type]
        stack.enter_context(suppress(optuna.TrialPruned))
        fit_fused(networks, *digits, trains, on_epoch)
    for model, trial in enumerate(trials):
        store_epochs(trial, epochs[model], epochs[model][-1:])
        if model in pruned:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, validation_loss(epochs[model][-1]))
