"""Given trainings: a study without a sampler, whose queue the workers of a search empty."""

from collections.abc import Callable, Iterable
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from mnist12k.cnn.settings import Train
from mnist12k.processes import register_process
from mnist12k.search.digest import data_and_code, digest_of
from mnist12k.search.queue import PROCESS, enqueue, finished
from mnist12k.search.settings import SearchSettings
from mnist12k.search.study import join_study, open_named_study
from mnist12k.search.trial import NotQueued
from mnist12k.search.worker import run_queued

# User attributes of a trial: the training, and what became of it.
TRAINING, RESULT = "mnist12k.training", "mnist12k.result"


def given_study_name(kind: str) -> str:
    """Return the name of the study of given trainings, which data and code identify."""
    return f"mnist12k-{kind}-{digest_of(data_and_code())[:8]}"


def open_given(settings: SearchSettings, kind: str) -> optuna.Study:
    """Open the study of given trainings, or create it; raise UserError if the storage fails."""
    return open_named_study(settings, given_study_name(kind), digest_of(data_and_code()))


def queue_given(study: optuna.Study, trainings: Iterable[Train]) -> None:
    """Queue every training, unless it is queued, running or done."""
    existing = [
        trial.user_attrs.get(TRAINING)
        for trial in study.get_trials(deepcopy=False)
        if trial.state != TrialState.FAIL
    ]
    for training in trainings:
        content = training.model_dump(mode="json")
        if content not in existing:
            shown = {name: content[name] for name in ("network", "recipe", "seed")}
            enqueue(study, shown, {TRAINING: content})


def given_results(study: optuna.Study, trainings: Iterable[Train]) -> list[Any]:
    """Return what became of those of the trainings that are done, in the order of their trials."""
    wanted = [training.model_dump(mode="json") for training in trainings]
    done = [trial for trial in finished(study) if trial.user_attrs.get(TRAINING) in wanted]
    return [given_result(trial) for trial in done]


def given_result(trial: FrozenTrial) -> Any:
    """Return what became of the training of a finished trial."""
    return trial.user_attrs[RESULT]


def work_given(
    settings: SearchSettings, name: str, train: Callable[[Train], tuple[float, Any]]
) -> None:
    """Run the queued trainings of the study of this name, each on one thread.

    `train` returns the trial's value, and what `given_results` is to return, in JSON's types.
    """
    torch.set_num_threads(1)
    study = join_study(settings, name)

    def objective(trial: optuna.Trial) -> float:
        if TRAINING not in trial.user_attrs:
            raise NotQueued
        trial.set_user_attr(PROCESS, register_process())
        value, result = train(Train.model_validate(trial.user_attrs[TRAINING]))
        trial.set_user_attr(RESULT, result)
        return value

    run_queued(study, lambda: study.optimize(objective, n_trials=1, catch=(NotQueued,)))
