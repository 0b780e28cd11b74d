"""Search for better hyperparameters on the held-out images; the test images stay closed."""

from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from mnist12k.errors import UserError
from mnist12k.files import write_json, write_text
from mnist12k.params import Params
from mnist12k.search import results
from mnist12k.search.cluster import run_on_cluster
from mnist12k.search.finalists import Result, choose_finalists, fingerprint, queue_finalists
from mnist12k.search.finalists import results as results_of
from mnist12k.search.local import run_here
from mnist12k.search.pictures import draw_study
from mnist12k.search.study import (
    POINT,
    SEED,
    ended,
    fill_queue,
    open_study,
    requeue_dead,
    study_digest,
    waiting,
)
from mnist12k.search.trial import EPOCHS

REPORTS = Path("reports/tune")


def run(params: Params, tracked: Callable[[], None] = lambda: None) -> None:
    """Run the trials that are left, then the finalists; write reports/tune.

    `tracked` is called whenever trials.csv has grown, and at the end. Killed at any moment, the
    next run does what is left.
    """
    study = open_study(params)

    def on_new() -> None:
        results.write_trials(study, REPORTS)
        tracked()

    requeue_dead(study, {})
    fill_queue(study, params.tune)
    _work(params, study, "", on_new)

    finalists = choose_finalists(study, params.tune)
    name = fingerprint(finalists, params.tune)
    second = open_study(params, name)
    requeue_dead(second, {})
    queue_finalists(second, finalists, params.tune)
    _work(params, second, name, lambda: None)
    found = results_of(second, finalists)
    if not found:
        raise UserError(
            "tune: every trial and the recipe itself diverged; search lower learning rates"
        )

    results.write_trials(study, REPORTS)
    results.write_finalists(found, REPORTS)
    write_text(REPORTS / "ranking.md", results.ranking(study, found, params))
    chosen = results.winner(params, found[0].finalist.point)
    results.write_best(chosen, REPORTS)
    write_json(REPORTS / "metrics.json", _figures(params, study, second, found))
    draw_study(study, REPORTS)
    tracked()
    print(f"{REPORTS / results.BEST} holds the winner; `mnist12k tune --apply` adopts it")
    print(f"to train it: {results.command(chosen)}")


def _work(params: Params, study: optuna.Study, finalists: str, on_new: Callable[[], None]) -> None:
    """Let the workers empty the study's queue, and tell of each trial that ends."""
    told = {trial.number for trial in ended(study)}
    print(
        f"{study.study_name}: {len(told)} trials are there, {len(waiting(study))} to go", flush=True
    )

    def look() -> None:
        new = [trial for trial in ended(study) if trial.number not in told]
        for trial in new:
            print(_line(trial), flush=True)
            told.add(trial.number)
        if new:
            on_new()

    run_workers = run_on_cluster if params.tune.engine == "ray" else run_here
    run_workers(params, study, finalists, look)


def _line(trial: FrozenTrial) -> str:
    chosen = trial.user_attrs.get(POINT, trial.params)
    told = [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in chosen.items()
    ] or ["the recipe itself"]
    if SEED in trial.user_attrs:
        told.append(f"seed {trial.user_attrs[SEED]}")
    loss = "diverged" if trial.value is None else f"validation loss {trial.value:.5f}"
    epochs = len(trial.user_attrs.get(EPOCHS, []))
    state = trial.state.name.lower()
    return f"trial {trial.number} {state} after {epochs} epochs: {loss}; {', '.join(told)}"


def _figures(
    params: Params, study: optuna.Study, second: optuna.Study, found: list[Result]
) -> dict[str, object]:
    trials = ended(study)
    start = next((result for result in found if result.finalist.trial is None), None)
    return {
        "study": study.study_name,
        "fingerprint": study_digest(params),
        "trials": len(trials),
        "pruned": sum(trial.state == optuna.trial.TrialState.PRUNED for trial in trials),
        "epochs": _epochs(trials),
        "epochs_of_finalists": _epochs(ended(second)),
        "winner_trial": found[0].finalist.trial,
        "winner_validation_loss_mean": found[0].mean_loss,
        "winner_validation_accuracy_mean": found[0].mean_accuracy,
        "start_recipe": params.tune.recipe,
        "start_validation_loss_mean": start and start.mean_loss,
        "start_validation_accuracy_mean": start and start.mean_accuracy,
    }


def _epochs(trials: list[FrozenTrial]) -> int:
    return sum(len(trial.user_attrs.get(EPOCHS, [])) for trial in trials)
