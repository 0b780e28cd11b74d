"""What can happen to a search on several machines: each command in a folder of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import environment
from team_server import PostgreSQL
from tune_command import alive, new_folder, read_report, read_until, start

pytestmark = pytest.mark.slow


def start_impatient(folder: Path, command: str) -> "subprocess.Popen[str]":
    """Start a command that gives its database up after six seconds instead of five minutes."""
    program = (
        "import sys; from mnist12k.search import storage; storage.PATIENCE = 6; "
        "from mnist12k.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-u", "-c", program, command],
        cwd=folder,
        env=environment() | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_a_suspended_worker_loses_its_trial_and_ends_with_the_search(
    server: PostgreSQL, tmp_path: Path, idx_folder: Path
) -> None:
    first, second = (
        new_folder(tmp_path / name, idx_folder, storage=server.address, trials=10, seed=8)
        for name in ("one", "two")
    )
    with start(first, "tune") as tune:
        output = read_until(tune, "mnist12k-")
        with start(second, "tune-worker") as worker:
            helped = read_until(worker, "trial ")
            os.killpg(worker.pid, signal.SIGSTOP)
            output += tune.communicate(timeout=400)[0]
            assert tune.returncode == 0, output
            os.killpg(worker.pid, signal.SIGCONT)
            helped += worker.communicate(timeout=60)[0]
    assert worker.returncode == 0, helped
    assert "Traceback" not in output + helped
    assert helped.splitlines()[-1].endswith(" ran here")
    assert len(read_report(first, "trials.csv")) == 10
    assert (read_report(first, "finalists.csv")["round"] == "verdict").sum() == 3 * 2


def test_forty_trials_survive_a_killed_worker_and_a_restarted_database(
    server: PostgreSQL, tmp_path: Path, idx_folder: Path
) -> None:
    first, second, third = (
        new_folder(tmp_path / name, idx_folder, storage=server.address, trials=40, seed=9)
        for name in ("one", "two", "three")
    )
    with start(first, "tune") as tune:
        output = read_until(tune, "mnist12k-")
        with start(second, "tune-worker") as survivor, start(third, "tune-worker") as victim:
            helped = read_until(survivor, "trial ")
            read_until(victim, "trial ")
            os.killpg(victim.pid, signal.SIGKILL)
            victim.communicate()
            server.stop()
            time.sleep(5)
            server.start()
            output += tune.communicate(timeout=500)[0]
            helped += survivor.communicate(timeout=60)[0]
    assert (tune.returncode, survivor.returncode) == (0, 0), output + helped
    for text in (output, helped):
        assert "Traceback" not in text
        assert text.count("connection lost, retrying for 5 minutes") == 1
    trials = read_report(first, "trials.csv")
    assert len(trials) == trials["trial"].nunique() == 40
    assert set(trials["state"]) == {"complete"}
    assert (read_report(first, "finalists.csv")["round"] == "verdict").sum() == 3 * 2


def test_a_database_that_stays_away_ends_both_commands_with_one_line(
    server: PostgreSQL, tmp_path: Path, idx_folder: Path
) -> None:
    first, second = (
        new_folder(tmp_path / name, idx_folder, storage=server.address, trials=40, seed=10)
        for name in ("one", "two")
    )
    with (
        start_impatient(first, "tune") as tune,
        start_impatient(second, "tune-worker") as worker,
    ):
        output, helped = read_until(tune, "trial "), read_until(worker, "trial ")
        server.stop()
        try:
            output += tune.communicate(timeout=100)[0]
            helped += worker.communicate(timeout=100)[0]
        finally:
            server.start()
        for process, text in ((tune, output), (worker, helped)):
            assert process.returncode == 2, text
            *_, warning, error = text.splitlines()
            assert "connection lost, retrying for 0.1 minutes (" in warning
            assert error.startswith("mnist12k: error: tune.storage = 'postgresql://mlflow:***@")
            assert "no answer for 0.1 minutes (" in error
            assert "Traceback" not in text
            assert alive(process.pid) == []
