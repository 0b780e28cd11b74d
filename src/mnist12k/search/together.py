"""Several trials at once, trained as one program: for accelerators that one trial leaves idle."""

import math
from contextlib import ExitStack, suppress

import optuna
from optuna.storages._heartbeat import get_heartbeat_thread  # no public way outside of optimize
from optuna.trial import TrialState

from mnist12k.cnn.device import pick_device
from mnist12k.cnn.fused import fit_fused
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.network import new_network
from mnist12k.digits.dataset import Digits
from mnist12k.params import Params, Train
from mnist12k.processes import this_process
from mnist12k.search.study import ATTEMPT, PROCESS, new_sampler, waiting
from mnist12k.search.trial import choose, keep, loss, training


def run_together(study: optuna.Study, params: Params, digits: tuple[Digits, Digits]) -> None:
    """Take up to `tune.together` trials off the queue, train them as one, tell the study of each.

    A trial that the pruner gives up is marked as pruned, and trains on with the others: leaving it
    out would change the program's shapes. When all are given up, all stop.
    """
    trials: list[optuna.Trial] = []
    settings: list[Train] = []
    while len(trials) < params.tune.together and waiting(study):
        study.sampler = new_sampler(params.tune, study)
        trial = study.ask()
        if ATTEMPT not in trial.user_attrs:  # another worker has taken the last one
            study.tell(trial, state=TrialState.FAIL)
            break
        trial.set_user_attr(PROCESS, this_process())
        trials.append(trial)
        point, seeds = choose(trial, params)
        settings.append(training(params, point, seeds[0]))
    if not trials:
        return
    epochs: list[list[Epoch]] = [[] for _ in trials]
    pruned: set[int] = set()

    def on_epoch(model: int, epoch: Epoch) -> None:
        epochs[model].append(epoch)
        if model in pruned:
            return
        if math.isfinite(loss(epoch)):
            trials[model].report(loss(epoch), epoch.epoch)
        last = epoch.epoch == settings[model].epochs
        if not math.isfinite(loss(epoch)) or (not last and trials[model].should_prune()):
            pruned.add(model)
        if len(pruned) == len(trials):
            raise optuna.TrialPruned

    device = pick_device(params.train.device)
    networks = [new_network(own.dropout, own.seed, device) for own in settings]
    with ExitStack() as stack:
        for trial in trials:
            beat = get_heartbeat_thread(trial._trial_id, study._storage)
            stack.enter_context(beat)  # type: ignore[arg-type]
        stack.enter_context(suppress(optuna.TrialPruned))  # every one of them
        fit_fused(networks, *digits, settings, on_epoch)
    for model, trial in enumerate(trials):
        keep(trial, epochs[model], epochs[model][-1:])
        if model in pruned:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, loss(epochs[model][-1]))
