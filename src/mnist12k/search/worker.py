"""A worker: takes trials off the queue and trains them, until there is none."""

import multiprocessing
import signal

import optuna
import torch

from mnist12k.cnn.device import pick_device
from mnist12k.digits.dataset import load_training_digits, split
from mnist12k.fingerprint import DATA
from mnist12k.params import Params
from mnist12k.search.study import new_sampler, open_study, waiting
from mnist12k.search.together import run_together
from mnist12k.search.trial import Surplus, run_trial


def work(params: Params, finalists: str = "") -> None:
    """Train the trials in the queue of a study; on a CPU with one thread."""
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear
    if pick_device(params.train.device).type == "cpu":
        torch.set_num_threads(1)
    digits = split(load_training_digits(DATA), params.train.validation_size)
    study = open_study(params, finalists)

    def objective(trial: optuna.Trial) -> float:
        return run_trial(trial, params, digits)

    while waiting(study) and not _is_orphan():
        if params.tune.together > 1:
            run_together(study, params, digits)
        else:
            study.sampler = new_sampler(params.tune, study)
            study.optimize(objective, n_trials=1, catch=(Surplus,))


def _is_orphan() -> bool:
    """Tell whether the process that started this one is gone: a search that was killed."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()
