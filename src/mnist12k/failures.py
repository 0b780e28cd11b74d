"""What the machine, the user or a signal does to a command: one line on stderr, and an exit code.

Anything else is a bug, and keeps its traceback.
"""

import atexit
import errno
import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import IOBase, TextIOWrapper
from pathlib import Path
from typing import Any

import click
import cloup

from mnist12k.errors import UserError, without_passwords
from mnist12k.signals import Stopped, ignore_signals, stoppable

STREAMS = ("standard output", "standard error")
USER_ERROR, CLOSED_PIPE = 2, 141  # exit codes; 128 and its number for a signal
# The machine has too little of something, whatever exception that led to in the end.
SCARCE = {
    getattr(errno, name, None)
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG", "EROFS"),
        *("EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EIO"),
    )
}
# A file or folder is not as it has to be.
MISPLACED = {
    getattr(errno, name, None)
    for name in (
        *("EACCES", "EPERM", "ENOENT", "EEXIST", "ENOTDIR", "EISDIR", "ENOTEMPTY", "EXDEV"),
        *("ELOOP", "ENAMETOOLONG", "EBUSY", "ETXTBSY", "ESTALE", "ENXIO", "ENODEV", "EPIPE"),
    )
}
# Libraries report the same in their own words: the loader, PyTorch, CUDA, Python, SQLite.
MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|failed to map segment|bad_alloc|out of memory"
    r"|alloc_failed",
    re.IGNORECASE,
)
OTHERS = re.compile(
    r"can't start new thread|too many open files|no space left on device|file too large"
    r"|read-only file system|unable to open database file|disk i/o error"
    r"|database or disk is full|readonly database",
    re.IGNORECASE,
)
TORN = re.compile(r"unexpected pos \d+")  # PyTorch's own writer names no reason


class Command(cloup.Command):
    """A command that checks, unless it only explains itself, that it can start at all."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        require_current_folder()
        require_memory()
        return super().invoke(ctx)


class Commands(cloup.Group):
    """A group of commands. Click itself would end some exceptions in its own way."""

    command_class = Command

    def invoke(self, ctx: click.Context) -> None:
        """Run the command; exit with the code of whatever has stopped it."""
        try:
            super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except BaseException as error:
            code = exit_code(error)
            if code is None:
                raise
            ctx.exit(code)


def run_command(command: Callable[[], Any]) -> int:
    """Return a command's exit code, once it has ended and its output has been written."""
    was_open = sys.stdout is not None
    _open_standard_streams()
    with stoppable(), _named_streams() as streams:
        try:
            if not was_open:
                raise UserError("standard output is closed")
            code = int(command() or 0)
            sys.stdout.flush()
        except click.ClickException as error:
            with suppress(OSError):
                error.show()
            code = error.exit_code
        except BaseException as error:
            known = exit_code(error)
            if known is None:
                raise
            code = known
        for stream in streams:
            try:
                stream.flush()
            except OSError:  # Python would flush once more, and print a traceback
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


def exit_code(error: BaseException) -> int | None:
    """Print what has stopped a command, in one line; return the exit code, or None for a bug."""
    for each in _chain(error):
        if isinstance(each, KeyboardInterrupt):
            number = each.number if isinstance(each, Stopped) else signal.SIGINT
            ignore_signals()
            by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
            _print_line(f"stopped{by}")
            return 128 + number
        if isinstance(each, BrokenPipeError) and each.filename in STREAMS:
            return CLOSED_PIPE
    if isinstance(error, SystemExit) and getattr(sys.stdout, "is_closed_pipe", False):  # click's
        return CLOSED_PIPE
    line = str(error) if isinstance(error, UserError) else explain(error)
    if line is None:
        return None
    atexit.register(_be_quiet)
    _print_line(f"error: {line}")
    return USER_ERROR


def explain(error: BaseException) -> str | None:
    """Return, in one line, how the machine or the workspace caused an error; None for a bug."""
    if isinstance(error, OSError) and error.errno in MISPLACED:
        return _with_file(error, error.strerror or str(error))
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in SCARCE:
            return _with_file(each, each.strerror or str(each))
    for each in _chain(error):
        text = " ".join(str(each).split())[:200]
        if isinstance(each, MemoryError) or MEMORY.search(text):
            return f"not enough memory ({text})" if text else "not enough memory"
        if TORN.search(text):
            return _with_file(each, "cannot be written; is the disk full, or `ulimit -f` too low?")
        if OTHERS.search(text):
            return _with_file(each, text)
        if type(each).__name__ == "OperationalError":  # any database's
            return text.partition(" [SQL:")[0].partition(" (Background on")[0]
    return None


def require_memory() -> None:
    """Raise UserError if PyTorch cannot be loaded within the limit on this process's memory.

    Loading it without enough memory can end the process at once, without an exception.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    command = [sys.executable, "-c", "import torch, pandas, scipy.stats, matplotlib.pyplot"]
    if subprocess.run(command, capture_output=True, check=False).returncode:  # noqa: S603
        raise UserError(f"not enough memory: `ulimit -v` allows {limit // 1024:,} kB")


def require_current_folder() -> None:
    """Raise UserError if the current folder has been removed: libraries would fail at it."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise UserError("the current folder has been removed") from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those that it was raised from or while handling."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _with_file(error: BaseException, reason: str) -> str:
    """Put the file in front of the reason: the error's, else the one that was being written.

    A failed write does not know its file, so that it is looked up in the functions that failed.
    """
    path = getattr(error, "filename", None)
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][::-1]
    for frame in frames:
        if path is None and str(frame.f_globals.get("__name__")).startswith("mnist12k."):
            path = frame.f_locals.get("path")
    for value in (value for frame in frames for value in frame.f_locals.values()):
        if path is None and isinstance(value, IOBase):  # a library's
            path = getattr(value, "name", None)
    if path in STREAMS or not isinstance(path, str | os.PathLike):
        return f"{path}: {reason}" if path in STREAMS else reason
    path = Path(path)
    if path.name.startswith(".tmp-"):  # its folder is what matters
        path = path.parent
    with suppress(OSError, ValueError):
        path = path.relative_to(Path.cwd())
    return f"{path}: {reason}"


def _open_standard_streams() -> None:
    """Open what the shell has closed (`>&-`), so that no file takes the place of a stream."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


@contextmanager
def _named_streams() -> Iterator[list["_Stream"]]:
    """Within the block, errors of standard output and standard error name them as their file."""
    before = sys.stdout, sys.stderr
    streams = [
        _Stream(stream, name)
        for stream, name in zip(before, STREAMS, strict=True)
        if type(stream) is TextIOWrapper  # else a test's, or a notebook's
    ]
    if len(streams) == len(before):
        sys.stdout, sys.stderr = streams
    try:
        yield streams
    finally:
        sys.stdout, sys.stderr = before
        for stream in streams:
            with suppress(OSError):
                stream.detach()  # its end would close the file


class _Stream(TextIOWrapper):
    """A standard stream whose errors have its name."""

    def __init__(self, stream: TextIOWrapper, label: str) -> None:
        super().__init__(
            stream.buffer,
            stream.encoding,
            stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        self.label = label
        self.is_closed_pipe = False

    def write(self, text: str, /) -> int:
        with self._named():
            return super().write(text)

    def flush(self) -> None:
        with self._named():
            super().flush()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = self.label
            self.is_closed_pipe |= isinstance(error, BrokenPipeError)
            raise


def _be_quiet() -> None:
    """Print nothing of libraries that fail at Python's end, for the reason already printed."""
    sys.unraisablehook = lambda _: None


def _print_line(message: str) -> None:
    with suppress(OSError):
        print(f"mnist12k: {without_passwords(message)}", file=sys.stderr, flush=True)
