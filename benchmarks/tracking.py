"""What tracking costs: a training with MLflow and one without, and `publish`.

    python benchmarks/tracking.py        # writes benchmarks/tracking.json; 5 to 10 minutes

Runs the stage train on MNIST by the default recipe, cut to two epochs: with a live run in a SQLite
store, as `mnist12k train` does, and without. Each training has its own process, folder and store;
the two alternate, and the median of three counts. The time is that of the whole stage: importing
MLflow, creating the store, writing files. Then the training is evaluated and published, and
published again, which has nothing to do. Needs MNIST in data/mnist (`dvc repro fetch`) and an idle
machine.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from common import (
    ROOT,
    command,
    machine,
    measure_in_new_process,
    temporary_project,
    write_result,
)

from mnist12k.cnn.settings import Train
from mnist12k.params import load_params
from mnist12k.paths import PARAMS

METHODS = ("without", "with")  # tracking


def train_without_tracking(settings: Train) -> None:
    """Train, and log nothing."""
    from mnist12k.stages import train

    train.run(settings, lambda _: nullcontext(lambda _: None))


def train_with_tracking(settings: Train) -> None:
    """Train as `mnist12k train` does."""
    from mnist12k.stages import train
    from mnist12k.tracking.runs import live_run

    train.run(settings, live_run)


def seconds(action: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    action()
    return round(time.perf_counter() - start, 3)


def measure(method: str, epochs: int) -> dict[str, float]:
    """Train with or without tracking, in this process and the current folder; return seconds."""
    params = load_params()
    params = params.model_copy(update={"train": params.train.model_copy(update={"epochs": epochs})})
    if method == "without":
        return {"train": seconds(lambda: train_without_tracking(params.train))}
    spent = {"train": seconds(lambda: train_with_tracking(params.train))}

    from mnist12k.stages import evaluate
    from mnist12k.tracking.publish import publish

    evaluate.run(params.evaluate)
    spent["publish"] = seconds(lambda: publish(params))
    spent["publish_again"] = seconds(lambda: publish(params))
    return spent


def measure_in_new_project(method: str, epochs: int) -> dict[str, float]:
    """Train with or without tracking, in a new process and folder; return seconds."""
    arguments = ("--method", method, "--epochs", str(epochs))
    with temporary_project() as folder:
        spent = measure_in_new_process(__file__, *arguments, folder=folder)
    print(method, spent, flush=True)
    return spent


def main() -> None:
    """Alternate between the two methods; write the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=METHODS, help="only measure this, and print it")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.method:
        print(json.dumps(measure(options.method, options.epochs)))
        return

    rounds = [
        {method: measure_in_new_project(method, options.epochs) for method in METHODS}
        for _ in range(options.rounds)
    ]

    def median(method: str, part: str) -> float:
        return statistics.median(measured[method][part] for measured in rounds)

    tracked, untracked = median("with", "train"), median("without", "train")
    result = {
        "machine": machine(f"{torch.get_num_threads()} threads", f"PyTorch {torch.__version__}"),
        "command": command(__file__),
        "recipe": load_params(ROOT / PARAMS).train.recipe,
        "epochs": options.epochs,
        "trainings_per_method": options.rounds,
        "seconds_with_tracking": tracked,
        "seconds_without_tracking": untracked,
        "difference_seconds": round(tracked - untracked, 3),
        "difference_percent": round(100 * (tracked - untracked) / untracked, 2),
        "allowed_difference_seconds": round(0.05 * untracked + 10, 3),
        "publish_seconds": median("with", "publish"),
        "publish_again_seconds": median("with", "publish_again"),
        "rounds": rounds,
    }
    write_result(Path(__file__).with_suffix(".json"), result)


if __name__ == "__main__":
    main()
