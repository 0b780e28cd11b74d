"""A process is recognised by what its kernel knows, not by the name of its host."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from mnist12k.processes import is_gone, register_process, this_process

SCRIPT = """
import time
from mnist12k.processes import register_process
print(register_process(), flush=True)
time.sleep(60)
"""
RENAMED = ("unshare", "--map-root-user", "--uts", "sh", "-euc", 'hostname other; exec "$@"', "sh")
# As in a container: processes outside are invisible, and numbers begin at 1.
CONTAINER = ("unshare", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@contextmanager
def started(prefix: Sequence[str]) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Start a process, behind a command that isolates it; yield its name for itself."""
    if prefix and (
        shutil.which(prefix[0]) is None
        or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("this user cannot make namespaces")
    command = [*prefix, sys.executable, "-c", SCRIPT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def test_this_process_is_not_gone() -> None:
    assert not is_gone(this_process())
    assert not is_gone(register_process())


@pytest.mark.parametrize("prefix", [(), RENAMED, CONTAINER], ids=["here", "renamed", "container"])
def test_a_process_is_gone_once_it_is_killed_and_never_while_it_lives(prefix: list[str]) -> None:
    with started(prefix) as (name, process):
        assert not is_gone(name)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 10  # the kernel kills what is in the namespace
        while not is_gone(name) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert is_gone(name)


def test_a_zombie_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        name = process.stdout.readline().decode().strip()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
        assert is_gone(name)


def test_the_successor_with_the_same_number_is_another_process() -> None:
    machine, pid, started_at = this_process().split("-")
    assert is_gone(f"{machine}-{pid}-{int(started_at) + 1}")


@pytest.mark.parametrize("name", ["", "laptop/123@1700000000", "abc-1-2", "abc"])
def test_a_process_of_another_machine_is_not_known_to_be_gone(name: str) -> None:
    assert not is_gone(name)
