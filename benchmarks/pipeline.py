"""What `dvc repro` spends outside the training loop, by stage.

    python benchmarks/pipeline.py        # writes benchmarks/pipeline.json; about 2 minutes

Runs each stage of dvc.yaml alone, by `dvc repro` in a fresh clone of the last commit, with this
environment and data, then `mnist12k publish`. Training is cut to one epoch, whose seconds, from
reports/train/metrics.json, are subtracted. What remains is imports, DVC, MLflow, files and figures.
The machine must be idle.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from common import DATA, ROOT, command, edit_params, environment, machine, write_result

from mnist12k.digits.settings import RAW
from mnist12k.files import read_json, read_yaml
from mnist12k.outputs import TRAIN_METRICS, TrainMetrics
from mnist12k.paths import PIPELINE


def seconds(folder: Path, *command: str) -> float:
    """Time a command in the clone, with the clone's code."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = environment() | {"PATH": path, "PYTHONPATH": str(folder / "src")}
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=variables, stdout=sys.stderr, check=True)  # noqa: S603
    return time.perf_counter() - start


def main() -> None:
    """Run every stage and `mnist12k publish` once; write the result."""
    spent = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "clone"
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)  # noqa: S603, S607
        edit_params(folder, {"source: auto": f"source: {DATA / RAW}", "epochs: null": "epochs: 1"})
        for stage in read_yaml(folder / PIPELINE)["stages"]:
            spent[stage] = seconds(folder, "dvc", "repro", "--force", "--single-item", stage)
        epoch = read_json(folder / TRAIN_METRICS, TrainMetrics).seconds
        spent["publish"] = seconds(folder, "mnist12k", "publish")
    spent["train"] -= epoch
    result = {
        "machine": machine(f"{torch.get_num_threads()} threads", f"PyTorch {torch.__version__}"),
        "command": command(__file__),
        "seconds_outside_the_training_loop": {name: round(s, 1) for name, s in spent.items()},
        "sum": round(sum(spent.values()), 1),
        "seconds_of_one_epoch": epoch,
    }
    write_result(Path(__file__).with_suffix(".json"), result)


if __name__ == "__main__":
    main()
