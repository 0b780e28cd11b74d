"""What `dvc repro` spends outside the training loop, by stage, and `make repro` with nothing to do.

    python benchmarks/pipeline.py        # writes benchmarks/pipeline.json; about 5 minutes

Runs `dvc repro --force` and `mnist12k publish` in a fresh clone of the last commit, with this
environment and data. A stage lasts until DVC prints that the next one runs. Training is cut to one
epoch, whose seconds, from reports/train/result.json, are subtracted: what remains is imports, DVC,
MLflow, files and figures. Then the three commands of `make repro` run again, with nothing to do.
All of it three times, and the median counts. The machine must be idle.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from common import DATA, ROOT, command, edit_params, environment, machine, write_result

from mnist12k.digits.settings import RAW
from mnist12k.files import read_json
from mnist12k.outputs import TRAIN_RESULT, TrainResult

ROUNDS = 3
NOTHING_TO_DO = (("mnist12k", "repair"), ("dvc", "repro"), ("mnist12k", "publish"))


def seconds_by_stage(folder: Path, *command: str) -> dict[str, float]:
    """Run a command in the clone, with the clone's code; return the seconds of each of its stages.

    What comes before the first stage counts under the command's own name.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = environment() | {"PATH": path, "PYTHONPATH": str(folder / "src")}
    variables["PYTHONUNBUFFERED"] = "1"
    stage, started = " ".join(command), time.perf_counter()
    spent: dict[str, float] = {}
    with subprocess.Popen(  # noqa: S603
        command, cwd=folder, env=variables, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", file=sys.stderr)
            if found := re.match(r"Running stage '(\w+)'", line):
                now = time.perf_counter()
                spent[stage], stage, started = now - started, found[1], now
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return spent | {stage: time.perf_counter() - started}


def measure(folder: Path) -> dict[str, float]:
    """Return the seconds of every part, of the epoch, and with nothing to do."""
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)  # noqa: S603, S607
    edit_params(folder, {"source: auto": f"source: {DATA / RAW}", "epochs: null": "epochs: 1"})
    spent = seconds_by_stage(folder, "dvc", "repro", "--force")
    spent |= seconds_by_stage(folder, "mnist12k", "publish")
    epoch = read_json(folder / TRAIN_RESULT, TrainResult).seconds
    spent["train"] -= epoch
    total = sum(spent.values())
    idle = sum(sum(seconds_by_stage(folder, *each).values()) for each in NOTHING_TO_DO)
    return spent | {"sum": total, "one epoch": epoch, "nothing to do": idle}


def main() -> None:
    """Measure three times, and write the medians."""
    rounds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            rounds.append(measure(Path(name) / "clone"))
    median = {
        part: round(statistics.median(each[part] for each in rounds), 1) for part in rounds[0]
    }
    results = ("sum", "one epoch", "nothing to do")
    result = {
        "machine": machine(f"{torch.get_num_threads()} threads", f"PyTorch {torch.__version__}"),
        "command": command(__file__),
        "seconds_outside_the_training_loop": {
            part: value for part, value in median.items() if part not in results
        },
        "sum": median["sum"],
        "seconds_of_one_epoch": median["one epoch"],
        "seconds_with_nothing_to_do": median["nothing to do"],
    }
    write_result(Path(__file__).with_suffix(".json"), result)


if __name__ == "__main__":
    main()
