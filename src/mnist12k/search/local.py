"""Workers on this machine, each a process of its own."""

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import optuna
from optuna.storages import fail_stale_trials

from mnist12k.cnn.device import pick_device
from mnist12k.errors import UserError
from mnist12k.params import Params
from mnist12k.search.study import is_done, requeue_dead, waiting
from mnist12k.search.worker import work

POLL = 0.5  # seconds
DEATHS = 10  # of workers, after which something else is wrong


def run_here(
    params: Params, study: optuna.Study, finalists: str, on_change: Callable[[], None]
) -> None:
    """Let `tune.workers` processes work until the queue is empty; a dead one is replaced.

    `on_change` is called now and then, and at the end. Raises UserError if workers keep dying.
    """
    # A new process, not a copy of this one: a copy of a process with threads can hang.
    new_process = multiprocessing.get_context("spawn").Process
    count = worker_count(params)
    workers: list[BaseProcess] = []
    deaths = 0
    nameless_since: dict[int, float] = {}
    try:
        while True:
            requeue_dead(study, nameless_since)
            fail_stale_trials(study)
            done = is_done(study)
            on_change()
            deaths += sum(worker.exitcode not in (None, 0) for worker in workers)
            if deaths > DEATHS:
                raise UserError(f"{deaths} workers have died; the first lines above say why")
            workers = [worker for worker in workers if worker.exitcode is None]
            if done and not workers:
                return
            for _ in range(min(count - len(workers), len(waiting(study)))):
                workers.append(new_process(target=work, args=(params, finalists), daemon=True))
                workers[-1].start()
            time.sleep(POLL)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def worker_count(params: Params) -> int:
    """Return how many processes to start; raise UserError for more than the CPU has cores."""
    wanted = params.tune.workers
    cores = os.cpu_count() or 1
    if pick_device(params.train.device).type != "cpu":
        return wanted or 1
    if wanted is not None and wanted > cores:
        raise UserError(
            f"tune.workers = {wanted}: this machine has {cores} cores; allowed: 1 to {cores}"
        )
    return wanted or cores
