"""benchmarks/gpu.py in miniature, on whatever device is here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT

from mnist12k.digits.settings import RAW

PROGRAM = """if True:
    import runpy, sys
    from pathlib import Path

    for absent in ("dvc", "mlflow", "optuna", "pandas", "matplotlib", "scipy"):
        sys.modules[absent] = None
    sys.path.insert(0, "benchmarks")
    import common
    common.DATA = Path(sys.argv.pop())
    runpy.run_path("benchmarks/gpu.py", run_name="__main__")
"""


@pytest.mark.slow
def test_every_part_runs_without_dvc_mlflow_and_optuna(idx_folder: Path, tmp_path: Path) -> None:
    (tmp_path / RAW).parent.mkdir()
    (tmp_path / RAW).symlink_to(idx_folder, target_is_directory=True)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--try", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout)
    assert max(result["gradients"].values()) < 1e-3
    assert all(result["bits"].values())
    assert result["fast"]["trainings"] == 2
    assert {"as a graph", "without a graph, 3 epochs"} <= result["best"].keys()
    assert "2 models" in result["many"]
