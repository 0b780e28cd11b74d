"""Ctrl-C, SIGTERM and SIGHUP stop a command in the same way; its worker processes end with it."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

# Windows has no SIGHUP.
NUMBERS = {getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")} - {None}
STOPPING = frozenset(signal.Signals(number) for number in NUMBERS if number is not None)
# Held while a worker writes what it must not leave half written: it ends after that.
writing = threading.RLock()


class Stopped(KeyboardInterrupt):
    """A signal has arrived: clean up, and end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Raise Stopped in the block when a signal arrives; later signals do not cut its cleanup short.

    A signal that is ignored, as SIGHUP is under nohup, stays ignored. Does nothing outside the main
    thread, which alone receives signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hook, sys.unraisablehook = sys.unraisablehook, _signal_again
    before = {
        number: signal.signal(number, _stop)
        for number in STOPPING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            if signal.getsignal(number) is _stop:
                signal.signal(number, handler)


def ignore_signals() -> None:
    """Ignore further signals: the command is about to end."""
    if threading.current_thread() is threading.main_thread():
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def starting_workers() -> Iterator[None]:
    """Start processes in the block that leave SIGINT and SIGHUP to this one from their first line.

    Queues belong into it as well: the first one starts multiprocessing's resource tracker.

    SIGTERM still ends them at once. Signals that arrive meanwhile are handled after the block: a
    process that has started but not been told what to do would end with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker  # not needed for `--help`

    blocked = STOPPING - {signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)  # the tracker's start unblocks SIGINT
        with _handled_later():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _handled_later() -> Iterator[None]:
    # What this thread blocks, another thread can still receive, and the main thread handles it.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: arrived.append(number))
        for number in STOPPING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])


def end_with_parent() -> None:
    """Leave signals to the process that has started this one, and end as soon as it is gone.

    Does nothing in a process that multiprocessing has not started.
    """
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is None:
        return
    for number in STOPPING - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit_when_written)
    threading.Thread(target=_exit_after, args=[parent], daemon=True).start()


def _exit_after(process: "BaseProcess") -> None:
    process.join()
    _exit(1)


def _exit_when_written(number: int, _: FrameType | None) -> None:
    # In a thread of its own, since the main thread may be the one that writes.
    threading.Thread(target=_exit, args=[128 + number], daemon=True).start()


def _exit(code: int) -> None:
    with writing:
        os._exit(code)


def _stop(number: int, _: FrameType | None) -> None:
    error = sys.exception()
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return  # it is being cleaned up after
        error = error.__context__
    raise Stopped(number)


def _signal_again(lost: Any) -> None:
    """Repeat a signal whose exception was raised in a finaliser, where Python drops it."""
    if isinstance(lost.exc_value, Stopped):
        main, number = threading.main_thread().ident, lost.exc_value.number
        threading.Timer(0.1, signal.pthread_kill, [main, number]).start()
    else:
        sys.__unraisablehook__(lost)


def print_line(line: str) -> None:
    """Print a line at once and as a whole: Ctrl-C cannot come between it and its end.

    `print` writes them apart if Python's output is unbuffered (PYTHONUNBUFFERED).
    """
    print(f"{line}\n", end="", flush=True)
