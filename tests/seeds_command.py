"""`mnist12k seeds` on small data, each time in a new folder and new processes."""

import subprocess
from pathlib import Path

import pandas as pd
from other_data import write_params
from tune_command import set_tune
from workspace import make_workspace

from mnist12k.files import read_yaml
from mnist12k.outputs import RESULTS

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
