"""One worker process of a search: it runs queued trials, one after the other."""

import contextlib
from collections.abc import Callable, Iterator

import optuna
import torch
from optuna.exceptions import UpdateFinishedTrialError

from mnist12k.cnn.device import pick_device
from mnist12k.cnn.network import normalising
from mnist12k.digits.dataset import load_training_digits, split
from mnist12k.errors import warn
from mnist12k.paths import DATA
from mnist12k.search.queue import queued
from mnist12k.search.samplers import NumberedSampler
from mnist12k.search.settings import SearchSettings
from mnist12k.search.study import join_study
from mnist12k.search.trial import NotQueued, run_batch, run_trial

LOST = "{}: a trial was interrupted for over a minute, and queued again"


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

    study.sampler = NumberedSampler(settings.tune, study)
    if settings.tune.together > 1:
        run_queued(study, lambda: run_batch(study, own, digits))
    else:
        run_queued(study, lambda: study.optimize(objective, n_trials=1, catch=(NotQueued,)))


def run_queued(study: optuna.Study, run_next: Callable[[], None]) -> None:
    """Run trials until the queue is empty; `run_next` takes one, or several, and runs them."""
    while queued(study):
        with giving_up_lost_trials(study.study_name):
            run_next()


@contextlib.contextmanager
def giving_up_lost_trials(name: str) -> Iterator[None]:
    """End the block without its result if its trial was queued again for another worker.

    That happens to a worker that was suspended, or cut off from the database, for a minute.
    """
    try:
        yield
    except UpdateFinishedTrialError:
        warn(LOST.format(name))
    except (ValueError, AssertionError) as error:  # Optuna's, when it tells a result
        if str(error) not in ("Cannot tell a FAIL trial.", "Should not reach."):
            raise
        warn(LOST.format(name))
