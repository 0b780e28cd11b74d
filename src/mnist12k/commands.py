"""How a command starts and ends: what stops it is one line on stderr, and an exit code."""

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import cloup

from mnist12k.errors import UserError, without_passwords
from mnist12k.failures import chain, explain
from mnist12k.signals import Stopped, ignore_signals, stoppable
from mnist12k.streams import STREAMS, named_streams, open_streams

USER_ERROR, CLOSED_PIPE = 2, 141  # exit codes; 128 and its number for a signal


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
    open_streams()
    with stoppable(), named_streams() as streams:
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
    for each in chain(error):
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


def _be_quiet() -> None:
    """Print nothing of libraries that fail at Python's end, for the reason already printed."""
    sys.unraisablehook = lambda _: None


def _print_line(message: str) -> None:
    with suppress(OSError):
        print(f"mnist12k: {without_passwords(message)}", file=sys.stderr, flush=True)
