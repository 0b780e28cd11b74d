"""The second round: the recipe itself and the best trials, trained again from fresh seeds.

With this many trials and one validation image worth 0.02 %, the best trial is partly the luckiest.
"""

import hashlib
import json
import statistics

import optuna
import pandas as pd
from optuna.trial import TrialState

from mnist12k.search.queue import POINT, SEED, enqueue
from mnist12k.search.settings import Tune
from mnist12k.search.space import Point, with_lists
from mnist12k.search.trial import ACCURACY

START = "start"  # the recipe itself, as a finalist
COLUMNS = ["trial", "seed", "validation_loss", "validation_accuracy"]


def choose_finalists(study: optuna.Study, tune: Tune) -> dict[str, Point]:
    """Return the points of the recipe itself and of the trials with the lowest validation losses.

    Their keys are `START` and the trials' numbers, best first.
    """
    finalists: dict[str, Point] = {START: {}}
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    for trial in sorted(complete, key=lambda trial: trial.value or 0):
        point = with_lists(trial.params)
        if len(finalists) <= tune.finalists and point not in finalists.values():
            finalists[str(trial.number)] = point
    return finalists


def finalists_digest(finalists: dict[str, Point], tune: Tune) -> str:
    """Return 32 hexadecimal digits that identify the finalists' points and seeds."""
    inputs = [list(finalists.values()), list(fresh_seeds(tune))]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:32]


def fresh_seeds(tune: Tune) -> range:
    """Return the seeds that follow the trials' seeds."""
    first = tune.seed + tune.seeds_per_trial
    return range(first, first + tune.finalist_seeds)


def queue_finalists(study: optuna.Study, finalists: dict[str, Point], tune: Tune) -> None:
    """Queue every finalist with every fresh seed, unless its trial exists."""
    trials = study.get_trials(deepcopy=False)
    existing = [(trial.user_attrs[POINT], trial.user_attrs[SEED]) for trial in trials]
    for seed in fresh_seeds(tune):
        for point in finalists.values():
            if (point, seed) not in existing:
                enqueue(study, {}, {POINT: point, SEED: seed})


def finalist_results(study: optuna.Study, finalists: dict[str, Point]) -> pd.DataFrame:
    """Return one row per completed training, `COLUMNS`, by rank of the finalist, then by seed.

    Finalists are ranked by mean validation loss, lowest first.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    rows = [
        (name, trial.user_attrs[SEED], trial.value, trial.user_attrs[ACCURACY])
        for name, point in finalists.items()
        for trial in complete
        if trial.user_attrs[POINT] == point
    ]
    results = pd.DataFrame(rows, columns=COLUMNS).drop_duplicates(["trial", "seed"])
    best_first = mean_results(results).sort_values("validation_loss", kind="stable").index
    return results.sort_values("seed").set_index("trial").loc[best_first].reset_index()


def mean_results(results: pd.DataFrame) -> pd.DataFrame:
    """Return the exact means of validation_loss and validation_accuracy per finalist, in order."""
    return results.groupby("trial", sort=False)[COLUMNS[2:]].agg(statistics.mean)
