"""Optuna's journal, opened so that a killed writer harms no later search.

Every writer, in every process, takes the lock and then cuts off what a killed one has left: a last
line without its end. Optuna itself would append to that line, which makes the journal unreadable.
"""

import json
import os
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from mnist12k.errors import UserError, warn
from mnist12k.signals import writing

RESTART = "move it away, and a new search starts"


def open_journal(path: Path) -> JournalStorage:
    """Open a journal, or create it; raise UserError if it is damaged or not a journal."""
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is not a file; {RESTART}")
        lock = JournalLock(path)
        backend = JournalFileBackend(str(path), lock)
        lock.acquire()
        try:
            check_records(path)
        finally:
            lock.release()
        return JournalStorage(backend)
    except OSError as error:
        raise UserError(f"{path} cannot be opened: {error.strerror or error}") from error
    except UserError:
        raise
    except Exception as error:  # depends on the record
        cause = " ".join(f"{type(error).__name__} {error}".split())[:100]
        raise UserError(
            f"{path} is not a journal of Optuna {version('optuna')} ({cause}); {RESTART}"
        ) from error


class JournalLock(JournalFileOpenLock):
    """A lock for writing that ends with its process; the journal then ends with a whole line.

    Optuna's locks are files that outlive a killed process. Others wait for 30 seconds and then take
    the lock from a process that may only be suspended; a link that dangles, as in a project that
    was moved, makes them wait forever.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path
        # Not Optuna's name for it, .lock, which an earlier version may have left.
        self.lock = FileLock(f"{path}.flock", poll_interval=0.002)

    def acquire(self) -> bool:
        """Wait for the lock, and cut off an incomplete last line."""
        self.lock.acquire()
        writing.acquire()
        try:
            cut_incomplete_line(self.path)
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        """Release the lock."""
        writing.release()
        self.lock.release()


def check_records(path: Path) -> None:
    """Cut off a last line that is not JSON; raise UserError if another line is no record."""
    # Optuna skips such a last line, so no process has seen its record. But a line in between may
    # have been read before it was damaged: without it, later records would change other trials,
    # since a trial's number is the count of those created before it.
    *lines, _ = path.read_bytes().split(b"\n")
    start = 0
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                cut(path, start)
                return
            raise _damaged(path, number) from error
        if not isinstance(record, dict) or not record.keys() >= {"op_code", "worker_id"}:
            raise _damaged(path, number)
        start += len(line) + 1


def cut_incomplete_line(path: Path) -> None:
    """Cut off a last line that has no end; the caller holds the lock."""
    with path.open("rb") as journal:
        if not journal.seek(0, os.SEEK_END):
            return
        journal.seek(-1, os.SEEK_END)
        if journal.read() == b"\n":
            return
        journal.seek(0)
        start = journal.read().rfind(b"\n") + 1
    cut(path, start)


def cut(path: Path, start: int) -> None:
    """Move everything from byte `start` to the end of the .damaged file, and say so."""
    kept = path.with_name(f"{path.name}.damaged")
    with path.open("r+b") as journal, kept.open("ab") as damaged:
        journal.seek(start)
        content = journal.read()
        damaged.write(content.rstrip(b"\n") + b"\n")
        damaged.flush()
        os.fsync(damaged.fileno())
        journal.truncate(start)
        os.fsync(journal.fileno())
    warn(f"{path}: moved a damaged last line of {len(content)} bytes to {kept.name}")


def _damaged(path: Path, number: int) -> UserError:
    before = f"; its first {number - 1} lines are a valid journal" if number > 1 else ""
    return UserError(f"{path}: line {number} is damaged; {RESTART}{before}")
