"""Process names that outlive their processes, to recognise work that was abandoned.

A host's name does not identify it: laptops are renamed, containers get a new name at every start. A
process that has the same kernel and process namespace as this one is looked up by its number and
start time. Any other one holds a lock in the project while it lives, which its kernel releases.
"""

import contextlib
import functools
import hashlib
import os
import uuid
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from mnist12k.paths import CHECKPOINTS, store_root

LOCKS = CHECKPOINTS / "running"  # below the store's root
PROC = Path("/proc")


def this_process() -> str:
    """Return this process's name: machine, number and start time, since numbers are reused."""
    return f"{_machine()}-{os.getpid()}-{_started(os.getpid())}"


def register_process() -> str:
    """Return this process's name, and hold a lock of that name until the process ends."""
    name = this_process()
    locks = store_root() / LOCKS
    for path in locks.glob(f"{_machine()}-*"):  # this machine needs no lock to know of an end
        if is_gone(path.name):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError, Timeout):  # a full disk: this machine needs no lock
        _hold(locks / name)
    return name


def is_gone(name: str) -> bool:
    """Return whether the process of that name has ended; False if nothing proves it."""
    machine, _, process = name.partition("-")
    pid, _, started = process.partition("-")
    if machine == _machine():
        return not pid.isdigit() or _started(int(pid)) != started
    return bool(started) and _is_released(store_root() / LOCKS / name)


@functools.cache
def _machine() -> str:
    """Return 12 hexadecimal digits that identify the running kernel and the process namespace."""
    try:
        if (PROC / "self").readlink() != Path(str(os.getpid())):  # another namespace's /proc
            return uuid.uuid4().hex[:12]
        boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii")
        identity = f"{boot}{(PROC / 'self/ns/pid').readlink()}"
    except OSError:  # not Linux
        identity = str(uuid.getnode())
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def _started(pid: int) -> str:
    """Return when a process began, in a unit of the platform; empty if there is none."""
    try:
        # Unlike psutil's seconds, these ticks since boot do not change when the clock is set.
        state, *fields = (PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else fields[18]
    except (OSError, ValueError, IndexError):
        pass
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return f"{process.create_time():.0f}"
    return ""


@functools.cache
def _hold(path: Path) -> FileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    lock.acquire(blocking=False)
    return lock


def _is_released(path: Path) -> bool:
    """Return whether a lock exists and nobody holds it."""
    if not path.is_file():
        return False
    try:
        with FileLock(path, blocking=False):
            return True
    except (OSError, Timeout):
        return False
