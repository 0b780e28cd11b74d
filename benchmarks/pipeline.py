"""What `dvc repro` spends outside the training loop, by stage.

    python benchmarks/pipeline.py        # writes benchmarks/pipeline.json; about 2 minutes

In a fresh clone of the committed state, beside this one's environment and data, each stage of
dvc.yaml is run alone as `dvc repro` runs it, then `mnist12k publish`. The training is cut to one
epoch, and the seconds of that epoch, which reports/train/metrics.json tells, are taken off: they
are the loop. What is left is imports, DVC, MLflow, files and pictures. The machine must be idle.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from mnist12k.files import write_json, write_text
from mnist12k.params import read_yaml

ROOT = Path(__file__).parents[1]
ELSEWHERE = ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME")  # would name another store


def timed(folder: Path, *command: str) -> float:
    """Run a command in the clone, with its code; return the seconds it took."""
    given = {name: text for name, text in os.environ.items() if name not in ELSEWHERE}
    path = f"{Path(sys.executable).parent}{os.pathsep}{given['PATH']}"
    environment = given | {"PATH": path, "PYTHONPATH": str(folder / "src")}
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, stdout=sys.stderr, check=True)  # noqa: S603
    return time.perf_counter() - started


def main() -> None:
    """Run every stage and the publishing once; write and print the seconds."""
    stages = list(read_yaml(ROOT / "dvc.yaml")["stages"])
    seconds = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "clone"
        clone = ["git", "clone", "--quiet", str(ROOT), str(folder)]
        subprocess.run(clone, check=True)  # noqa: S603
        params = (folder / "params.yaml").read_text(encoding="utf-8")
        params = params.replace("source: auto", f"source: {ROOT / 'data/mnist/MNIST/raw'}", 1)
        write_text(folder / "params.yaml", params.replace("epochs: null", "epochs: 1", 1))
        for stage in stages:
            seconds[stage] = timed(folder, "dvc", "repro", "--force", "--single-item", stage)
        metrics = json.loads((folder / "reports/train/metrics.json").read_text(encoding="utf-8"))
        seconds["publish"] = timed(folder, "mnist12k", "publish")
    seconds["train"] -= metrics["seconds"]
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, {torch.get_num_threads()} "
        f"threads, Python {platform.python_version()}, PyTorch {torch.__version__}",
        "command": "python benchmarks/pipeline.py",
        "seconds_outside_the_loop": {stage: round(spent, 1) for stage, spent in seconds.items()},
        "sum": round(sum(seconds.values()), 1),
        "one_epoch_in_the_loop": metrics["seconds"],
    }
    write_json(Path(__file__).with_suffix(".json"), result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
