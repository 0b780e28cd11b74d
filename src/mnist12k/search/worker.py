"""One worker process of a search: it runs queued trials, one after the other."""

import contextlib
from collections.abc import Iterator

import optuna
import torch
from optuna.exceptions import UpdateFinishedTrialError

from mnist12k.cnn.device import pick_device
from mnist12k.cnn.network import normalising
from mnist12k.digits.dataset import load_training_digits, split
from mnist12k.errors import warn
from mnist12k.paths import DATA
from mnist12k.search.queue import queued
from mnist12k.search.settings import SearchSettings
from mnist12k.search.study import join_study, new_sampler
from mnist12k.search.trial import NotQueued, run_batch, run_trial


def work(settings: SearchSettings, name: str) -> None:
    """Run the queued trials of the study of this name; on a CPU with one thread."""
    if pick_device(settings.train.device).type == "cpu":
        torch.set_num_threads(1)
    training_digits = load_training_digits(DATA, settings.train.architecture)
    digits = split(training_digits, settings.train.validation_size)
    networks = {
        name: normalising(layers, training_digits.images)
        for name, layers in settings.networks.items()
    }
    own = settings._replace(networks=networks)
    study = join_study(settings, name)

    def objective(trial: optuna.Trial) -> float:
        return run_trial(trial, own, digits)

    while queued(study):
        with giving_up_lost_trials(name):
            if settings.tune.together > 1:
                run_batch(study, own, digits)
            else:
                study.sampler = new_sampler(settings.tune, study)
                study.optimize(objective, n_trials=1, catch=(NotQueued,))


@contextlib.contextmanager
def giving_up_lost_trials(name: str) -> Iterator[None]:
    """End the block without its result if its trial was queued again for another worker.

    That happens to a worker that was suspended, or cut off from the database, for a minute.
    """
    try:
        yield
    except (UpdateFinishedTrialError, ValueError) as error:
        if isinstance(error, ValueError) and str(error) != "Cannot tell a FAIL trial.":
            raise
        warn(f"{name}: a trial was interrupted for over a minute, and queued again")
