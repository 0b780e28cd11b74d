"""A case of the campaign, and running a command in this process."""

import io
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from mnist12k.cli import main

ERROR, WARNING = "mnist12k: error: ", "mnist12k: warning: "


class NotRunError(Exception):
    """Raised by a case that cannot run on this machine; the text says why."""


class Case(NamedTuple):
    """One case: `check` gets a new folder, and raises AssertionError if the project fails.

    `row` is the line of the table that counts it; `processes` says that it may run beside others.
    """

    row: str
    name: str
    check: Callable[[Path], None]
    processes: bool = False


class Outcome(NamedTuple):
    """How a command ended: its exit code, its output, and the time that it took."""

    code: int
    out: str
    err: str
    seconds: float

    def errors(self) -> list[str]:
        """Return the lines with errors, which all belong to one error."""
        lines = self.err.splitlines()
        return [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]

    def warnings(self) -> list[str]:
        """Return the lines with warnings."""
        lines = self.err.splitlines()
        return [line.removeprefix(WARNING) for line in lines if line.startswith(WARNING)]


class TooSlow(BaseException):
    """Raised in a command that exceeds its time; not an Exception, which a command may catch."""


def call(arguments: Sequence[str], limit: float = 120) -> Outcome:
    """Run `mnist12k` in this process and in the current folder, as its own process would end.

    An exception that leaves the command is printed with its traceback, and the exit code is 1.
    """
    started = time.perf_counter()
    with _captured() as (out, err):
        try:
            with _limited(limit):
                code = main(arguments)
        except (Exception, SystemExit, TooSlow):
            traceback.print_exc()
            code = 1
    return Outcome(code, out(), err(), time.perf_counter() - started)


def generator(seed: object) -> random.Random:
    """Return random numbers that the text of `seed` decides, on every machine and in any order."""
    return random.Random(str(seed))  # noqa: S311


def assert_no_traceback(output: str) -> None:
    """Raise AssertionError, with the traceback, if the output has one."""
    _, found, rest = output.rpartition("Traceback (most recent call last)")
    assert not found, f"a traceback: ...{rest[-600:]}"


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooSlow(f"more than {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _captured() -> Iterator[tuple[Callable[[], str], Callable[[], str]]]:
    """Redirect both outputs to files, for Python and for child processes."""
    with _redirected("stdout") as out, _redirected("stderr") as err:
        yield out, err


@contextmanager
def _redirected(name: str) -> Iterator[Callable[[], str]]:
    number = {"stdout": 1, "stderr": 2}[name]
    stream, saved = getattr(sys, name), os.dup(number)
    stream.flush()
    text = ""
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), number)
        writer = io.TextIOWrapper(
            os.fdopen(os.dup(number), "wb", 0), encoding="utf-8", write_through=True
        )
        setattr(sys, name, writer)
        try:
            yield lambda: text
        finally:
            writer.close()
            setattr(sys, name, stream)
            os.dup2(saved, number)
            os.close(saved)
            file.seek(0)
            text = file.read().decode("utf-8", "replace")
