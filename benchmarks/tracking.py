"""What tracking costs: one training with MLflow and one without, and what `publish` adds.

    python benchmarks/tracking.py        # writes benchmarks/tracking.json; 5 to 10 minutes

The train stage runs the default recipe, cut to two epochs, on the real images, once with a run kept
in a SQLite store as `mnist12k train` keeps it and once without. Each training has a process, a
folder and a store of its own, and the two ways take turns; the median of three counts. The time is
the whole stage's: MLflow is imported in it, the store is made, the files are written. Then the
finished training is evaluated and published, and published again with nothing left to do. Data must
lie in data/mnist (`dvc repro fetch`). The machine must be idle.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch

from mnist12k.files import write_json
from mnist12k.params import Params, load_params

ROOT = Path(__file__).parents[1]
WAYS = ("without", "with")
ELSEWHERE = ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME")  # would name another store


def train_without(params: Params) -> None:
    """Train, and tell nobody."""
    from mnist12k.stages import train

    train.run(params, lambda _: nullcontext(lambda _: None))


def train_with(params: Params) -> None:
    """Train as `mnist12k train` does."""
    from mnist12k.stages import train
    from mnist12k.tracking.live import live_run

    train.run(params, live_run)


def seconds(action: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    action()
    return round(time.perf_counter() - start, 3)


def measure(way: str, epochs: int) -> None:
    """Train one way in this process and the current folder, and print what it took."""
    params = load_params()
    params = params.model_copy(update={"train": params.train.model_copy(update={"epochs": epochs})})
    if way == "without":
        found = {"train": seconds(lambda: train_without(params))}
    else:
        found = {"train": seconds(lambda: train_with(params))}

        from mnist12k.stages import evaluate
        from mnist12k.tracking.publish import publish

        evaluate.run(params)
        found["publish"] = seconds(lambda: publish(params))
        found["publish_again"] = seconds(lambda: publish(params))
    print(json.dumps(found))


def measured(way: str, epochs: int) -> dict[str, float]:
    """Run one way in a process and a folder of its own, and return what it took."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("params.yaml", "dvc.yaml"):
            shutil.copy(ROOT / name, folder)
        for name in ("src", "data"):
            (Path(folder) / name).symlink_to(ROOT / name, target_is_directory=True)
        command = [sys.executable, __file__, "--way", way, "--epochs", str(epochs)]
        environment = {name: text for name, text in os.environ.items() if name not in ELSEWHERE}
        done = subprocess.run(  # noqa: S603
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(way, found, flush=True)
    return found


def main() -> None:
    """Let the two ways take turns; write and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--way", choices=WAYS, help="measure this one here, and print it")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--trainings", type=int, default=3, help="of each way")
    chosen = parser.parse_args()
    if chosen.way:
        return measure(chosen.way, chosen.epochs)

    turns = [{way: measured(way, chosen.epochs) for way in WAYS} for _ in range(chosen.trainings)]

    def median(way: str, part: str) -> float:
        return statistics.median(turn[way][part] for turn in turns)

    tracked, alone = median("with", "train"), median("without", "train")
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, {torch.get_num_threads()} "
        f"threads, Python {platform.python_version()}, PyTorch {torch.__version__}",
        "command": " ".join(["python benchmarks/tracking.py", *sys.argv[1:]]),
        "recipe": load_params(ROOT / "params.yaml").train.recipe,
        "epochs": chosen.epochs,
        "trainings_of_each": chosen.trainings,
        "seconds_with": tracked,
        "seconds_without": alone,
        "difference_seconds": round(tracked - alone, 3),
        "difference_percent": round(100 * (tracked - alone) / alone, 2),
        "allowed_seconds": round(0.05 * alone + 10, 3),
        "publish_seconds": median("with", "publish"),
        "publish_again_seconds": median("with", "publish_again"),
        "turns": turns,
    }
    write_json(Path(__file__).with_suffix(".json"), result)
    print(json.dumps(result, indent=2))
    return None


if __name__ == "__main__":
    main()
