"""Search for better hyperparameters on the hold-out set; the test images are not used."""

from collections.abc import Callable

import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from mnist12k.digits.dataset import load_training_digits
from mnist12k.errors import UserError
from mnist12k.files import all_or_none, write_json, write_table, write_text
from mnist12k.outputs import FINALISTS, TRIAL_EPOCHS, TRIALS, TUNE_METRICS
from mnist12k.paths import BEST_PARAMS, DATA, TUNE_REPORTS
from mnist12k.search.coordinator import coordinating
from mnist12k.search.finalists import (
    choose_finalists,
    finalist_results,
    finalists_digest,
    queue_finalists,
)
from mnist12k.search.plots import draw_study
from mnist12k.search.queue import POINT, SEED, fill_queue, finished, queued, requeue_dead
from mnist12k.search.results import (
    best_params,
    epochs_table,
    metrics,
    ranking,
    train_command,
    trials_table,
    write_best,
)
from mnist12k.search.running import run_workers
from mnist12k.search.settings import SearchSettings
from mnist12k.search.study import open_study
from mnist12k.search.trial import IMPOSSIBLE, epochs_of
from mnist12k.signals import print_line

RANKING = TUNE_REPORTS / "ranking.md"


def run(settings: SearchSettings, log_trials: Callable[[pd.DataFrame, pd.DataFrame], None]) -> None:
    """Run the missing trials, then those of the finalists, and write reports/tune.

    `log_trials` gets the tables of trials and epochs whenever they have new rows. An interrupted
    search resumes where it stopped. Raises UserError if another process runs it.
    """
    # Before the workers, so that damaged data is one error.
    load_training_digits(DATA, settings.train.architecture)
    study = open_study(settings)
    with coordinating(study, settings.tune.storage):
        search(settings, study, log_trials)


def search(
    settings: SearchSettings,
    study: optuna.Study,
    log_trials: Callable[[pd.DataFrame, pd.DataFrame], None],
) -> None:
    """Run a search as its only coordinator."""
    tune = settings.tune

    def on_finished() -> None:
        log_trials(trials_table(study), epochs_table(study))

    requeue_dead(study, {})
    fill_queue(study, tune)
    run_queue(settings, study, on_finished)

    finalists = choose_finalists(study, tune)
    digest = finalists_digest(finalists, tune)
    finalists_study = open_study(settings, digest)
    requeue_dead(finalists_study, {})
    queue_finalists(finalists_study, finalists, tune)
    run_queue(settings, finalists_study, lambda: None)
    results = finalist_results(finalists_study, finalists)
    if results.empty:
        raise UserError(
            "tune: every trial and the recipe itself diverged; search lower learning rates"
        )

    best = best_params(settings, finalists[results["trial"].iloc[0]])
    with all_or_none():
        write_table(TRIALS, trials_table(study))
        write_table(TRIAL_EPOCHS, epochs_table(study))
        write_table(FINALISTS, results)
        write_text(RANKING, ranking(settings, study, finalists, results))
        write_best(best, BEST_PARAMS)
        write_json(TUNE_METRICS, metrics(settings, study, finalists_study, results))
        draw_study(study, TUNE_REPORTS)
    print(f"the winner is in {BEST_PARAMS}; `mnist12k tune --apply` writes it to params.yaml")
    if command := train_command(best):
        print(f"train it with: {command}")


def run_queue(
    settings: SearchSettings, study: optuna.Study, on_finished: Callable[[], None]
) -> None:
    """Run the queued trials and print each result; call `on_finished` after one or several."""
    printed = {trial.number for trial in finished(study)}
    counts = f"{len(printed)} trials finished, {len(queued(study))} to go"
    print_line(f"{study.study_name}: {counts}")

    def on_change() -> None:
        new = [trial for trial in finished(study) if trial.number not in printed]
        for trial in new:
            print_line(result_line(trial))
            printed.add(trial.number)
        if new:
            on_finished()

    run_workers(settings, study, on_change)


def result_line(trial: FrozenTrial) -> str:
    """Return a trial's result and hyperparameters."""
    values = [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.user_attrs.get(POINT, trial.params).items()
    ] or ["the recipe itself"]
    if SEED in trial.user_attrs:
        values.append(f"seed {trial.user_attrs[SEED]}")
    loss = trial.user_attrs.get(IMPOSSIBLE, "diverged")
    if trial.value is not None:
        loss = f"validation loss {trial.value:.5f}"
    state, epochs = trial.state.name.lower(), len(epochs_of(trial))
    return f"trial {trial.number} {state} after {epochs} epochs: {loss}; {', '.join(values)}"
