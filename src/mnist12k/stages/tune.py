"""Search for better hyperparameters on the hold-out set; the test images are not used."""

import time
from collections.abc import Callable, Mapping

import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from mnist12k.digits.dataset import load_training_digits
from mnist12k.errors import UserError
from mnist12k.files import all_or_none, write_json, write_table, write_text
from mnist12k.outputs import FINALISTS, TRIAL_EPOCHS, TRIALS, TUNE_METRICS, TuneMetrics
from mnist12k.paths import BEST_PARAMS, DATA, TUNE_REPORTS
from mnist12k.search.best import BETTER, best_params, write_best
from mnist12k.search.coordinator import coordinating
from mnist12k.search.pictures import draw_search
from mnist12k.search.plan import plan
from mnist12k.search.plots import draw_study
from mnist12k.search.queue import (
    ENOUGH,
    FINALIST,
    SEED,
    fill_queue,
    finished,
    queued,
    requeue_dead,
    why_enough,
)
from mnist12k.search.race import (
    START,
    choose_finalists,
    finalist_results,
    finalists_digest,
    losses_of,
    next_trainings,
    queue_trainings,
)
from mnist12k.search.results import described, epochs_table, metrics, ranking, trials_table
from mnist12k.search.running import help_study, run_workers
from mnist12k.search.settings import SearchSettings
from mnist12k.search.space import Point, parse_space
from mnist12k.search.study import SEARCH, open_study, say_what_chooses, study_name
from mnist12k.search.trial import IMPOSSIBLE, epochs_of
from mnist12k.signals import print_line

RANKING = TUNE_REPORTS / "ranking.md"
LogTrials = Callable[[str, pd.DataFrame, pd.DataFrame], None]


def run(settings: SearchSettings, log_trials: LogTrials) -> None:
    """Run the missing trials, then those of the finalists, and write reports/tune.

    `log_trials` gets the search's name and the tables of trials and epochs whenever they have new
    rows. An interrupted search resumes where it stopped. Raises UserError if another process runs
    it.
    """
    # Before the workers, so that damaged data is one error.
    load_training_digits(DATA, settings.train.architecture)
    study = open_study(settings)
    with coordinating(study, settings.tune.storage):
        search(settings, study, log_trials)


def search(settings: SearchSettings, study: optuna.Study, log_trials: LogTrials) -> None:
    """Run a search as its only coordinator."""
    say_what_chooses(settings, study)

    def on_finished() -> None:
        log_trials(study.user_attrs[SEARCH], trials_table(study), epochs_table(study))

    requeue_dead(study, {})
    fill_queue(study, plan(settings))
    started = time.monotonic()
    run_queue(settings, study, on_finished, lambda: why_enough(study, settings.tune, started))

    finalists = choose_finalists(study, settings)
    if len(finalists) == 1:
        raise UserError(
            "tune: no trial but the recipe itself is complete; search lower learning rates"
        )
    finalists_study, challenger = run_finalists(settings, finalists)
    results = finalist_results(finalists_study, finalists, settings.tune)
    found = metrics(settings, study, finalists_study, results, challenger)
    trials, epochs = trials_table(study), epochs_table(study)
    with all_or_none():
        write_table(TRIALS, trials)
        write_table(TRIAL_EPOCHS, epochs)
        write_table(FINALISTS, results)
        write_text(RANKING, ranking(settings, study, results, found))
        write_best(best_params(settings, finalists[challenger], found), BEST_PARAMS)
        write_json(TUNE_METRICS, found)
        draw_search(trials, epochs, results, parse_space(settings.tune.space), TUNE_REPORTS)
        draw_study(study, TUNE_REPORTS)
    print_line(verdict_lines(found))


def run_finalists(
    settings: SearchSettings, finalists: Mapping[str, Point]
) -> tuple[optuna.Study, str]:
    """Run the race and the verdict; return the finalists' study and the challenger."""
    study = open_study(settings, finalists_digest(finalists))
    requeue_dead(study, {})
    done: list[tuple[str, int]] = []
    while True:
        losses = losses_of(finalist_results(study, finalists, settings.tune))
        challenger, missing = next_trainings(losses, [*finalists], settings.tune)
        if not missing:
            return study, challenger
        if missing == done:
            raise UserError(
                "tune: the workers of a finalist's training died again and again; "
                "`mnist12k tune` tries once more"
            )
        queue_trainings(study, missing, finalists, settings)
        run_queue(settings, study)
        done = missing


def verdict_lines(found: TuneMetrics) -> str:
    """Return the verdict, and what to do with it."""
    force = "" if found.verdict == BETTER else " --force"
    then = "`dvc repro` then trains it; on one thread (train.threads: 1) to the same bits"
    nevertheless = "" if found.verdict == BETTER else " nevertheless"
    return (
        f"{found.summary()}\n{BEST_PARAMS} has the challenger; `mnist12k tune --apply{force}` "
        f"writes it to params.yaml{nevertheless}, and {then}"
    )


def run_queue(
    settings: SearchSettings,
    study: optuna.Study,
    on_finished: Callable[[], None] = lambda: None,
    enough: Callable[[], str] = lambda: "",
) -> None:
    """Run the queued trials and print each result; call `on_finished` after one or several.

    Once `enough` returns a reason, no further trial starts.
    """
    study.set_user_attr(ENOUGH, "")
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
        if (why := enough()) and not study.user_attrs[ENOUGH]:
            print_line(f"{study.study_name}: {why}; no further trial starts")
            study.set_user_attr(ENOUGH, why)

    run_workers(settings, study, on_change)


def help_tune(settings: SearchSettings) -> None:
    """Run trials for a search that another machine has started, until it ends."""
    help_study(settings, study_name(settings), result_line)


def result_line(trial: FrozenTrial) -> str:
    """Return a trial's result and hyperparameters."""
    loss = trial.user_attrs.get(IMPOSSIBLE, "diverged")
    if trial.value is not None:
        loss = f"validation loss {trial.value:.5f}"
    state, epochs = trial.state.name.lower(), len(epochs_of(trial))
    name, seed = trial.user_attrs.get(FINALIST, str(trial.number)), ""
    if SEED in trial.user_attrs:
        seed = f" from seed {trial.user_attrs[SEED]}"
    what = "the recipe" if name == START else f"trial {name}"
    return f"{what}{seed} {state} after {epochs} epochs: {loss}; {described(trial)}"
