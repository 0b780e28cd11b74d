"""`mnist12k seeds` while a worker is killed: here, on another machine."""

import os
import signal
from pathlib import Path

import psutil
import pytest
from seeds_command import RESULT, TRAININGS, require_all, seeds_folder
from team_server import PostgreSQL
from tune_command import read_until, start

pytestmark = [pytest.mark.slow, pytest.mark.long]


def test_a_killed_worker_process_costs_no_training(tmp_path: Path, idx_folder: Path) -> None:
    folder = seeds_folder(tmp_path / "one", idx_folder, workers=2)
    with start(folder, "seeds") as process:
        output = read_until(process, RESULT)
        workers = [
            child
            for child in psutil.Process(process.pid).children(recursive=True)
            if "spawn_main" in " ".join(child.cmdline())
        ]
        workers[0].kill()
        output += process.communicate(timeout=400)[0]
    require_all(process, output, folder)


def test_a_killed_machine_costs_no_training(
    server: PostgreSQL, tmp_path: Path, idx_folder: Path
) -> None:
    first, second = (
        seeds_folder(tmp_path / name, idx_folder, workers=1, storage=server.address)
        for name in ("one", "two")
    )
    with start(first, "seeds") as process:
        output = read_until(process, f"0 trainings done, {TRAININGS} to go")
        with start(second, "tune-worker", "--seeds") as helper:
            read_until(helper, RESULT)
            os.killpg(helper.pid, signal.SIGKILL)
            helper.communicate()
        output += process.communicate(timeout=400)[0]
    require_all(process, output, first)
