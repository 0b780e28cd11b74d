"""How PyTorch's threads wait for each other on a machine that does something else as well.

On Linux they are libgomp's, which spin while they wait: fastest on an idle machine, but on a busy
one a thread that spins keeps a core from the thread it waits for. libgomp lets them sleep a hundred
times sooner while its process has more threads than the machine has cores (its manual, section
GOMP_SPINCOUNT). So while a training's threads have to wait for a core, teams of threads are added
that do nothing. No bit of a training depends on it.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import torch

INTERVAL = 0.5  # seconds between two looks
BUSY = 0.2  # seconds per second that this process's threads, in sum, wait for a core
TEAM = "idle team"  # name of the thread that owns a team


@contextlib.contextmanager
def sharing_cores() -> Iterator[None]:
    """Let PyTorch's threads sleep, within the block, whenever other processes need the cores."""
    if torch.get_num_threads() == 1 or seconds_waited() is None:
        yield
        return
    end = threading.Event()
    watcher = threading.Thread(target=_watch, args=(end,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        end.set()
        watcher.join()


def seconds_waited() -> float | None:
    """Return how long this process's threads were ready to run but had no core, in sum.

    None where the kernel does not count it.
    """
    waited = 0
    try:
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                waited += int((thread / "schedstat").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return waited / 1e9 if waited else None


def _watch(end: threading.Event) -> None:
    """Keep idle teams while the process waits for cores, until `end` is set.

    Where no further thread may be started, PyTorch's threads spin on.
    """
    before = seconds_waited()
    with contextlib.suppress(RuntimeError), contextlib.ExitStack() as teams:
        while not end.wait(INTERVAL):
            now = seconds_waited()
            if now is None or before is None:  # too many open files, for example
                pass
            elif (now - before) / INTERVAL < BUSY:
                teams.close()
            elif not idle_teams():
                for _ in range(teams_needed(torch.get_num_threads(), core_count())):
                    teams.enter_context(_idle_team())
            before = now


def core_count() -> int:
    """Return the number of cores that this process may use, as libgomp counts them."""
    return len(os.sched_getaffinity(0))


def teams_needed(threads: int, cores: int) -> int:
    """Return how many more teams of so many threads make the process have more than the cores.

    libgomp counts the process's first thread, and those of each team except for its owner.
    """
    return max(0, cores - threads) // (threads - 1) + 1


def idle_teams() -> int:
    """Return how many idle teams there are."""
    return sum(thread.name == TEAM for thread in threading.enumerate())


@contextlib.contextmanager
def _idle_team() -> Iterator[None]:
    """Keep, within the block, a thread that has computed in parallel, and so owns a team."""
    ready, end = threading.Event(), threading.Event()

    def own_a_team() -> None:
        with contextlib.suppress(RuntimeError):  # there is no memory
            torch.zeros(1 << 20).add_(1)  # large enough for all threads
        ready.set()
        end.wait()

    owner = threading.Thread(target=own_a_team, name=TEAM, daemon=True)
    owner.start()
    ready.wait()
    try:
        yield
    finally:
        end.set()
        owner.join()
