"""Given trainings: a study without a sampler, whose queue the workers of a search empty."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from mnist12k.cnn.settings import Train
from mnist12k.processes import register_process
from mnist12k.search.digest import data_and_code, digest_of
from mnist12k.search.queue import PROCESS, TRAINING, enqueue, finished, queued, signs_of_life
from mnist12k.search.settings import SearchSettings
from mnist12k.search.study import join_study, open_named_study
from mnist12k.search.worker import run_queued

RESULT = "mnist12k.result"  # user attribute of a trial: what became of its training


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
    settings: SearchSettings,
    name: str,
    train: Callable[[Sequence[Train]], Sequence[tuple[float, Any]]],
) -> None:
    """Run the queued trainings of the study of this name, up to `tune.together` at once.

    `train` returns for each its trial's value, and what `given_results` is to return, in JSON's
    types. On a CPU it computes on one thread.
    """
    torch.set_num_threads(1)
    study = join_study(settings, name)

    def run_next() -> None:
        trials = take_queued(study, settings.tune.together)
        trainings = [Train.model_validate(trial.user_attrs[TRAINING]) for trial in trials]
        try:
            with signs_of_life(study, trials):
                results = train(trainings)
        except (Exception, KeyboardInterrupt):
            for trial in trials:
                study.tell(trial, state=TrialState.FAIL)
            raise
        for trial, (value, result) in zip(trials, results, strict=True):
            trial.set_user_attr(RESULT, result)
            study.tell(trial, value)

    run_queued(study, run_next)


def take_queued(study: optuna.Study, most: int) -> list[optuna.Trial]:
    """Take up to so many trainings from the queue; none if other workers have been faster."""
    trials: list[optuna.Trial] = []
    while queued(study) and len(trials) < most:
        trial = study.ask()
        if TRAINING not in trial.user_attrs:  # the queue was empty, and Optuna created one
            study.tell(trial, state=TrialState.FAIL)
            break
        trial.set_user_attr(PROCESS, register_process())
        trials.append(trial)
    return trials
