"""Pools of workers: processes on this machine, or tasks on a Ray cluster."""

import logging
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from mnist12k.cnn.device import pick_device
from mnist12k.errors import UserError
from mnist12k.failures import explain
from mnist12k.paths import store_root
from mnist12k.processes import this_process
from mnist12k.search.settings import SearchSettings
from mnist12k.signals import end_with_parent, starting_workers

# What a worker process does for the study of a name: `work` of search/worker.py, or the like.
Work = Callable[[SearchSettings, str], None]

CONNECT_TIMEOUT = 5  # seconds
STOP_TIMEOUT = 10  # seconds that a worker may take to end
MAX_DEATHS = 10  # of worker processes


def worker_count(settings: SearchSettings) -> int:
    """Return the number of worker processes; raise UserError if the CPU has fewer cores."""
    if pick_device(settings.train.device).type != "cpu":
        return settings.tune.workers or 1
    cores = os.cpu_count() or 1
    workers = settings.tune.workers or cores
    if workers > cores:
        raise UserError(
            f"tune.workers = {workers}: this machine has {cores} cores; allowed: 1 to {cores}"
        )
    return workers


def _work_in(folder: str, root: str, work: Work, settings: SearchSettings, name: str) -> None:
    """Work in the project's folder on a cluster's node, with the driver's store."""
    os.chdir(folder)
    os.environ["DVC_ROOT"] = root
    work(settings, name)


def _work_or_report(
    failures: "SimpleQueue[str]", work: Work, settings: SearchSettings, name: str
) -> None:
    """Work in a process of its own, which leaves it to the parent to report what stops it."""
    end_with_parent()
    try:
        work(settings, name)
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else explain(error)
        if reason is None:
            raise
        failures.put(reason)
        sys.exit(2)


class ProcessPool:
    """At most `size` worker processes on this machine."""

    def __init__(self, settings: SearchSettings, work: Work) -> None:
        self.size = worker_count(settings)
        self.work = work
        self.spawn = multiprocessing.get_context("spawn")  # a fork with threads can hang
        with starting_workers():
            self.failures: SimpleQueue[str] = self.spawn.SimpleQueue()
        self.settings = settings
        self.processes: list[BaseProcess] = []
        self.names: set[str] = set()  # how the names of all its processes so far begin
        self.deaths = 0

    def start(self, study: str) -> None:
        """Start a worker for the study of this name."""
        arguments = (self.failures, self.work, self.settings, study)
        process = self.spawn.Process(target=_work_or_report, args=arguments, daemon=True)
        with starting_workers():
            process.start()
        self.processes.append(process)
        self.names.add(f"{this_process().partition('-')[0]}-{process.pid}")

    def has_run(self, name: str) -> bool:
        """Return whether the process of this name is or was one of this pool's workers."""
        return name.rpartition("-")[0] in self.names

    def count_running(self) -> int:
        """Return how many workers are running; raise UserError if one failed, or many died."""
        if not self.failures.empty():
            raise UserError(self.failures.get())
        self.deaths += sum(process.exitcode not in (None, 0) for process in self.processes)
        if self.deaths > MAX_DEATHS:
            raise UserError(f"{self.deaths} workers have died; see the first error above")
        self.processes = [process for process in self.processes if process.exitcode is None]
        return len(self.processes)

    def close(self) -> None:
        """Stop all workers; they finish what they are writing to the journal."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join(STOP_TIMEOUT)
            process.kill()
            process.join()


class RayPool:
    """At most `size` tasks on the Ray cluster at RAY_ADDRESS, by default the one on this machine.

    Every node needs the project at the same path, with its data, and access to tune.storage. Ray
    restarts tasks whose node is lost. On GPUs, each task gets an equal fraction of them.
    """

    def __init__(self, settings: SearchSettings, work: Work) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
        try:
            import ray
        except ImportError as error:
            raise UserError("tune.engine = 'ray' needs Ray: pip install '.[ray]'") from error
        address = os.environ.get("RAY_ADDRESS", "auto")
        try:
            host, colon, port = address.rpartition(":")
            if colon and "/" not in host:  # Ray itself would retry for minutes
                socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT).close()
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"RAY_ADDRESS = {address!r}: no cluster answers ({reason})") from error

        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        on_gpu = pick_device(settings.train.device).type != "cpu"
        self.size = settings.tune.workers or int(resources.get("GPU" if on_gpu else "CPU", 1))
        gpus = min(resources.get("GPU", 0) / self.size, 1) if on_gpu else 0
        self.ray = ray
        self.task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=-1)(_work_in)
        self.arguments = (str(Path.cwd()), str(store_root()), work, settings)
        self.running: list[ray.ObjectRef[None]] = []

    def start(self, study: str) -> None:
        """Start a task for the study of this name."""
        self.running.append(self.task.remote(*self.arguments, study))

    def count_running(self) -> int:
        """Return how many tasks are queued or running; raise the error of one that failed."""
        ended, self.running = self.ray.wait(self.running, num_returns=len(self.running), timeout=0)
        self.ray.get(ended)
        return len(self.running)

    def close(self) -> None:
        """Disconnect from the cluster, which stops the tasks."""
        self.ray.shutdown()
