"""`mnist12k seeds` while a worker is killed: here, on another machine."""

import os
import signal
import subprocess
from pathlib import Path

import pandas as pd
import psutil
import pytest
from other_data import write_params
from team_server import PostgreSQL
from tune_command import read_until, set_tune, start
from workspace import make_workspace

from mnist12k.files import read_yaml
from mnist12k.outputs import RESULTS

pytestmark = [pytest.mark.slow, pytest.mark.long]
TRAININGS = 16
RESULT = "reference by fast from seed "  # how the line of a result begins


def seeds_folder(folder: Path, idx_folder: Path, **tune: object) -> Path:
    """Create a project on small data whose seeds study has TRAININGS short trainings."""
    make_workspace(folder, idx_folder)
    set_tune(folder, **tune)
    params = read_yaml(folder / "params.yaml")
    params["seeds"] |= {"recipes": {"reference": ["fast"]}, "count": TRAININGS}
    write_params(folder / "params.yaml", params)
    return folder


def require_all(process: "subprocess.Popen[str]", output: str, folder: Path) -> None:
    """Require that a run has ended well, with one result of every seed."""
    assert process.returncode == 0, output
    assert "Traceback" not in output
    results = pd.read_csv(folder / RESULTS)
    assert results["seed"].tolist() == list(range(1, TRAININGS + 1))


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
