"""Servers as a user starts them, gone with all that they started when a test is done with them."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from conftest import ROOT
from workspace import FOREIGN

T = TypeVar("T")
SECONDS = 120  # that a server may take to start on a loaded machine


class Server:
    """A command that runs until it is stopped, and what it has said so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self.log = log

    def says(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def wait_for(self, find: Callable[[], T | None]) -> T:
        """Return what `find` finds, or fail with the server's own words."""
        deadline = time.monotonic() + SECONDS
        while (found := find()) is None:
            assert self.process.poll() is None, self.says()
            assert time.monotonic() < deadline, self.says()
            time.sleep(0.2)
        return found

    def wait_until_up(self, address: str) -> None:
        """Wait until a GET of `address` is answered."""
        self.wait_for(lambda: get(address))


def environment() -> dict[str, str]:
    """Return the variables of a user who has this environment activated, and no store but ours."""
    ours = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    ours["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{ours['PATH']}"
    return ours | {"PYTHONPATH": str(ROOT / "src")}


@contextmanager
def started(*command: str, folder: Path, **variables: str) -> Iterator[Server]:
    """Run a command in `folder`, in a process group of its own, all of which is killed at last."""
    log = folder / f"{Path(command[0]).name}.log"
    with (
        log.open("wb") as words,
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment() | variables,
            stdout=words,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield Server(process, log)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def get(address: str) -> str | None:
    """Return what is answered at `address`, or None where nothing answers yet."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - http
            return str(answer.read().decode())
    except (urllib.error.URLError, TimeoutError):
        return None


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
