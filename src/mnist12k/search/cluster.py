"""Workers on a Ray cluster, which schedules them, and their shares of its GPUs.

Every node needs the project at the same path, with its data, and reaches tune.storage.
"""

import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.storages import fail_stale_trials

from mnist12k.cnn.device import pick_device
from mnist12k.errors import UserError
from mnist12k.params import Params
from mnist12k.search.study import is_done, requeue_dead, waiting
from mnist12k.search.worker import work
from mnist12k.stores import store_root

POLL, CONNECT = 0.5, 5  # seconds


def run_on_cluster(
    params: Params, study: optuna.Study, finalists: str, on_change: Callable[[], None]
) -> None:
    """Let `tune.workers` Ray tasks work until the queue is empty; a lost one is begun again.

    The cluster is the one that RAY_ADDRESS names, or the one on this machine. `on_change` is called
    now and then, and at the end.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing phones home
    try:
        import ray
    except ImportError as error:
        raise UserError("tune.engine = 'ray' needs Ray: pip install '.[ray]'") from error
    address = os.environ.get("RAY_ADDRESS", "auto")
    try:
        host, colon, port = address.rpartition(":")
        if colon and "/" not in host:  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=CONNECT).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"RAY_ADDRESS = {address!r}: no cluster answers ({reason})") from error

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    on_gpu = pick_device(params.train.device).type != "cpu"
    count = params.tune.workers or int(resources.get("GPU" if on_gpu else "CPU", 1))
    gpus = resources.get("GPU", 0) / count if on_gpu else 0
    task = ray.remote(num_cpus=1, num_gpus=min(gpus, 1), max_retries=-1)(_work_at)
    folder, root = str(Path.cwd()), str(store_root())
    running: list[ray.ObjectRef[None]] = []
    nameless_since: dict[int, float] = {}
    try:
        while True:
            requeue_dead(study, nameless_since)
            fail_stale_trials(study)
            done = is_done(study)
            on_change()
            if done and not running:
                return
            more = min(count - len(running), len(waiting(study)))
            running += [task.remote(params, finalists, folder, root) for _ in range(more)]
            time.sleep(POLL)
            ended, running = ray.wait(running, num_returns=len(running), timeout=0)
            ray.get(ended)  # raises what a worker has raised
    finally:
        ray.shutdown()


def _work_at(params: Params, finalists: str, folder: str, root: str) -> None:
    """Work in the project's folder of a node."""
    os.chdir(folder)
    os.environ["DVC_ROOT"] = root
    work(params, finalists)
