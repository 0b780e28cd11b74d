"""One coordinator per study, in processes of their own, with a journal and a real PostgreSQL."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy
from project import ROOT
from team_server import PostgreSQL, wait_until
from tune_command import new_folder, read_until, set_tune, start
from workspace import inside

from mnist12k.errors import UserError
from mnist12k.search import coordinator
from mnist12k.search.coordinator import DatabaseLock, is_coordinated, only_coordinator
from mnist12k.signals import stoppable

STUDY = "mnist12k-0123abcd"
HOLD = """
import sys, time
from mnist12k.search.coordinator import only_coordinator
with only_coordinator(sys.argv[1], sys.argv[2]):
    print("holds", flush=True)
    time.sleep(600)
"""
pytestmark = pytest.mark.slow


@pytest.fixture(params=["journal", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with inside(tmp_path):
        if request.param == "journal":
            yield "journal"
        else:
            yield request.getfixturevalue("server").address


@contextmanager
def hold(store: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a process that is the study's coordinator, killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, store, STUDY],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "holds\n"
            yield process
        finally:
            process.kill()


def test_a_second_coordinator_is_an_error_of_one_line_until_the_first_is_killed(store: str) -> None:
    assert not is_coordinated(store, STUDY)
    with hold(store):
        assert is_coordinated(store, STUDY)
        with (
            pytest.raises(UserError) as caught,
            only_coordinator(store, STUDY),
        ):
            pass
        assert str(caught.value) == (
            "another `mnist12k tune` runs mnist12k-0123abcd; `mnist12k tune-worker` helps it"
        )
        assert is_coordinated(store, STUDY)
        with only_coordinator(store, "mnist12k-another"):
            assert is_coordinated(store, "mnist12k-another")
    wait_until(lambda: not is_coordinated(store, STUDY), 5)
    with only_coordinator(store, STUDY):
        assert is_coordinated(store, STUDY)
    assert not is_coordinated(store, STUDY)


def test_the_lock_is_taken_again_after_the_database_was_restarted(server: PostgreSQL) -> None:
    with only_coordinator(server.address, STUDY):
        for _ in range(2):
            server.stop()
            server.start()
            assert not is_coordinated(server.address, STUDY)
            wait_until(lambda: is_coordinated(server.address, STUDY), 30)
    assert not is_coordinated(server.address, STUDY)


def test_a_coordinator_that_another_one_has_outrun_after_a_restart_ends(
    server: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = DatabaseLock(server.address, STUDY)
    monkeypatch.setattr(coordinator, "PAUSE", 3)

    def be_outrun() -> None:
        with only_coordinator(server.address, STUDY):
            server.stop()
            server.start()
            assert other.take()
            threading.Event().wait(60)

    with stoppable(), pytest.raises(UserError, match=f"runs {STUDY}; "):
        be_outrun()
    other.close()


def test_a_session_of_its_own_that_was_cut_off_does_not_look_like_another_coordinator(
    server: PostgreSQL,
) -> None:
    lock = DatabaseLock(server.address, STUDY)
    assert lock.take()
    cut_off, lock.connection = lock.connection, None  # the server does not know yet
    assert lock.take()
    assert cut_off is not None
    cut_off.close()
    assert DatabaseLock(server.address, STUDY).holder() is None
    assert lock.take()
    lock.close()


def test_the_database_ends_the_session_of_a_machine_that_is_gone(server: PostgreSQL) -> None:
    lock = DatabaseLock(server.address, STUDY)
    lock.take()
    assert lock.connection is not None
    for name, seconds in (("idle", "20"), ("interval", "10")):
        query = sqlalchemy.text(f"SHOW tcp_keepalives_{name}")
        assert lock.connection.execute(query).scalar() == seconds
    lock.close()


@pytest.mark.parametrize("kind", ["journal", "postgresql"])
def test_two_searches_at_once_train_no_trial_twice(
    kind: str, tmp_path: Path, idx_folder: Path, request: pytest.FixtureRequest
) -> None:
    folder = new_folder(tmp_path / "search", idx_folder, trials=40)
    if kind == "postgresql":
        set_tune(folder, storage=request.getfixturevalue("server").address)
    with start(folder, "tune") as first:
        name = read_until(first, "mnist12k-").split(":")[0]
        started = time.monotonic()
        with start(folder, "tune") as second:
            output = second.communicate(timeout=200)[0]
        assert second.returncode == 2
        line = f"another `mnist12k tune` runs {name}; `mnist12k tune-worker` helps it"
        assert output == f"mnist12k: error: {line}\n"
        assert time.monotonic() - started < 100
        assert first.poll() is None
        os.killpg(first.pid, signal.SIGKILL)
    with start(folder, "tune") as third:
        read_until(third, "trial ")
        os.killpg(third.pid, signal.SIGKILL)
