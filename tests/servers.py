"""Servers as a user starts them, killed with all their processes at the end of a test."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from project import ROOT
from workspace import FOREIGN

T = TypeVar("T")
TIMEOUT = 120  # seconds for a server to start on a busy machine


class Server:
    """A running command and its output."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self.log = log

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def wait_for(self, find: Callable[[], T | None]) -> T:
        """Return the first result of `find` that is not None, or fail with the output."""
        deadline = time.monotonic() + TIMEOUT
        while (result := find()) is None:
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.2)
        return result

    def wait_until_up(self, address: str) -> None:
        """Wait until a GET of `address` succeeds."""
        self.wait_for(lambda: get(address))


def environment() -> dict[str, str]:
    """Return the variables of a shell in which this Python environment is activated."""
    variables = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    return variables | {"PYTHONPATH": str(ROOT / "src")}


@contextmanager
def started(*command: str, folder: Path, **variables: str) -> Iterator[Server]:
    """Run a command in `folder` in a new process group, killed at the end."""
    log = folder / f"{Path(command[0]).name}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment() | variables,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield Server(process, log)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def get(address: str) -> str | None:
    """Return the response of `address`, or None if there is none yet."""
    try:
        with urllib.request.urlopen(address, timeout=5) as response:  # noqa: S310 - http
            return str(response.read().decode())
    except OSError:  # URLError is one
        return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
