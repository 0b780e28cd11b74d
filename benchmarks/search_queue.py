"""What a search's queue costs per trial, with 0, 1,000 and 10,000 trials in the study.

In a database at most 1,000 of them are queued: each look at those already takes it a second.

    python benchmarks/search_queue.py                               # the journal
    python benchmarks/search_queue.py postgresql://user@host/database  # and a database

Both write benchmarks/search_queue.json. The trials in the study are finished, or still queued:
those are read again at every look at the queue. A trial is queued, taken, suggested three
parameters, stores what a trial of three epochs stores, and gets its result, as in a worker but
without a training; by the random sampler, and by TPE, which models all finished trials. `open` is
what a worker process pays when it starts. Each figure is the median of REPEATS, in one process.
"""

import argparse
import statistics
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from common import command, machine, write_result
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.storages import BaseStorage, fail_stale_trials
from optuna.trial import TrialState, create_trial

from mnist12k.search.journal import open_journal
from mnist12k.search.queue import ATTEMPT, PROCESS, enqueue, queued, requeue_dead
from mnist12k.search.storage import open_storage
from mnist12k.search.trial import ACCURACY, EPOCHS

SIZES = (0, 1_000, 10_000)
MOST_QUEUED = 1_000  # in a database
REPEATS = 20
WORKER = "0123456789ab-1-1"  # on another machine
RESULT = Path(__file__).with_suffix(".json")
SAMPLERS = {"random": RandomSampler, "tpe": partial(TPESampler, group=True)}
EPOCH = [0, 0.1, 0.98, 0.09, 0.985, 0.5, 1.5]  # as long as the record of an epoch
SPACE = {
    "learning_rate": FloatDistribution(0.05, 1.5, log=True),
    "dropout": FloatDistribution(0, 0.1),
    "schedule": CategoricalDistribution(["one_cycle", "cosine", "step", "linear"]),
}


def measure(
    name: str, open_store: Callable[[], BaseStorage], most_queued: int
) -> list[dict[str, Any]]:
    """Return the seconds that a trial, a poll of the queue, and opening it cost, by size."""
    results = []
    for state in (TrialState.COMPLETE, TrialState.WAITING):
        study = optuna.create_study(
            storage=open_store(), study_name=f"benchmark-{uuid.uuid4().hex}"
        )
        for size in SIZES:
            if state == TrialState.WAITING and size > most_queued:
                continue
            fill(study, state, size)
            row: dict[str, Any] = {"storage": name, "trials": size, "state": state.name.lower()}
            for sampler, new_sampler in SAMPLERS.items():
                study.sampler = new_sampler(seed=1)
                row[f"seconds_per_trial_{sampler}"] = median_seconds(partial(run_trial, study))
            row["seconds_per_poll"] = median_seconds(partial(poll, study))
            started = time.perf_counter()
            again = optuna.load_study(study_name=study.study_name, storage=open_store())
            queued(again)
            row["seconds_to_open"] = round(time.perf_counter() - started, 4)
            results.append(row)
            print(row, flush=True)
        optuna.delete_study(study_name=study.study_name, storage=study._storage)
    return results


def fill(study: optuna.Study, state: TrialState, size: int) -> None:
    """Add trials, as a search leaves or queues them, until there are so many in this state."""
    sampler = RandomSampler(seed=0)
    for number in range(len(study.get_trials(deepcopy=False, states=(state,))), size):
        if state == TrialState.WAITING:
            enqueue(study, {}, {})
            continue
        point = {
            name: sampler.sample_independent(study, None, name, distribution)  # type: ignore[arg-type]
            for name, distribution in SPACE.items()
        }
        trial = create_trial(
            state=state,
            value=0.03 + (number % 100) / 1000,
            params=point,
            distributions=SPACE,
            intermediate_values={1: 0.2, 2: 0.1, 3: 0.05},
            user_attrs={ATTEMPT: 1, PROCESS: WORKER, EPOCHS: [EPOCH] * 3, ACCURACY: 0.98},
        )
        study.add_trial(trial)


def run_trial(study: optuna.Study) -> None:
    """Queue a trial, take it, and store what a trial of three epochs stores."""
    enqueue(study, {}, {})
    assert queued(study)
    trial = study.ask(SPACE)
    trial.set_user_attr(PROCESS, WORKER)
    for step in range(1, 4):
        trial.report(0.1 / step, step)
    trial.set_user_attr(EPOCHS, [EPOCH] * 3)
    trial.set_user_attr(ACCURACY, 0.98)
    study.tell(trial, 0.05)


def poll(study: optuna.Study) -> None:
    """Look at the queue, as the coordinator does twice a second, and an idle worker every two."""
    requeue_dead(study, {})
    fail_stale_trials(study)
    study.get_trials(deepcopy=False)
    queued(study)


def median_seconds(act: Callable[[], None]) -> float:
    """Return the median wall-clock seconds of a call."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - started)
    return round(statistics.median(seconds), 4)


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("database", nargs="?", help="the address of a PostgreSQL database")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of the heartbeat, which `tune` runs beside a training
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "optuna.journal"
        results = measure("journal", partial(open_journal, journal), max(SIZES))
        if arguments.database:
            results += measure("postgresql", lambda: open_storage(arguments.database), MOST_QUEUED)
    write_result(RESULT, {"command": command(__file__), "machine": machine(), "results": results})


if __name__ == "__main__":
    main()
