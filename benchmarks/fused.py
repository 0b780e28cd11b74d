"""M models trained as one, against as many one after another: model-epochs a second.

    python benchmarks/fused.py        # writes benchmarks/fused.json; minutes

one_after_another  mnist12k.cnn.fit, on all cores or on the accelerator
two_processes      on a CPU also: `fit` on one thread, in two processes side by side
fused              mnist12k.cnn.fused.fit_fused; on an accelerator in both memory layouts, and with
                   cuDNN's own choice of algorithm or the one that it measures to be fastest

By the recipe `fast`, without validation: an epoch of some steps to warm up, then three that are
timed, of which the median counts; a model-epoch is the steps of 55,000 images. The images are
MNIST's from data/mnist, or random where that is absent: how long a step takes does not depend on
them. The machine must be idle.
"""

import argparse
import json
import math
import multiprocessing
import os
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

import torch

from mnist12k.cnn import fused
from mnist12k.cnn.device import device_name, pick_device
from mnist12k.cnn.fit import fit
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.network import new_network
from mnist12k.digits.dataset import Digits, load_training_digits
from mnist12k.digits.fetch import RAW
from mnist12k.files import write_json
from mnist12k.params import Train, load_params

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data/mnist"
EPOCH = 55_000  # images
LAYOUTS = {"channels_last": torch.channels_last, "channels_first": torch.contiguous_format}


def digits(count: int) -> Digits:
    """Return training images, MNIST's or random ones."""
    if (DATA / RAW).is_dir():
        return load_training_digits(DATA).subset(torch.arange(count))
    images = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8)
    return Digits(images, torch.randint(0, 10, (count,)))


def seconds_per_step(history: list[Epoch], steps: int) -> float:
    """Return what a step took, the first epoch's apart."""
    return statistics.median(epoch.seconds for epoch in history[1:]) / steps


def solo(settings: Train, steps: int, device: torch.device) -> float:
    """Train one model; return the seconds of a step."""
    training = digits(steps * settings.batch_size)
    network = new_network(settings.dropout, settings.seed, device)
    nothing = training.subset(torch.arange(0))
    return seconds_per_step(fit(network, training, nothing, settings), steps)


def solo_on_one_thread(settings: Train, steps: int) -> float:
    """Train one model on one thread of a CPU; return the seconds of a step."""
    torch.set_num_threads(1)
    return solo(settings, steps, torch.device("cpu"))


def as_one(settings: list[Train], steps: int, device: torch.device) -> float:
    """Train models as one; return the seconds of a step of all of them."""
    training = digits(steps * settings[0].batch_size)
    networks = [new_network(own.dropout, own.seed, device) for own in settings]
    nothing = training.subset(torch.arange(0))
    return seconds_per_step(fused.fit_fused(networks, training, nothing, settings)[0], steps)


def main() -> None:
    """Measure every way and count of models, print a line each, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, help="an epoch's; 20 on a CPU, 100 elsewhere")
    parser.add_argument("--models", type=int, nargs="+", help="how many are trained as one")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    chosen = parser.parse_args()
    device = pick_device(chosen.device)
    on_cpu = device.type == "cpu"
    steps = chosen.steps or (20 if on_cpu else 100)
    counts = chosen.models or ([1, 4, 16] if on_cpu else [1, 4, 16, 64, 256])
    params = load_params(ROOT / "params.yaml")
    recipe = params.training("fast", 1, 5000).model_copy(update={"dropout": chosen.dropout})
    rows: list[dict[str, Any]] = []

    def add(way: str, models: int, seconds: float, **how: object) -> None:
        """Note one way; `seconds` are of a step of all its models together."""
        per_second = models / (seconds * math.ceil(EPOCH / recipe.batch_size))
        base = rows[0]["model_epochs_per_second"] if rows else per_second
        row = {"way": way, "models": models, **how, "milliseconds_per_step": seconds * 1000}
        row |= {"model_epochs_per_second": per_second, "ratio": per_second / base}
        rows.append({k: float(f"{v:.4g}") if type(v) is float else v for k, v in row.items()})
        print(json.dumps(rows[-1]), flush=True)

    add("one_after_another", 1, solo(recipe, steps, device))
    if on_cpu:
        with multiprocessing.get_context("spawn").Pool(2) as workers:
            both = workers.starmap(solo_on_one_thread, [(recipe, steps)] * 2, chunksize=1)
        add("two_processes", 2, statistics.mean(both))
    for layout, memory_format in LAYOUTS.items():
        for measures in (False,) if on_cpu else (False, True):
            fused.LAYOUT = memory_format
            torch.backends.cudnn.benchmark = measures
            how = {"layout": layout} | ({} if on_cpu else {"cudnn_benchmark": measures})
            for count in counts:
                settings = [recipe.model_copy(update={"seed": seed}) for seed in range(count)]
                add("fused", count, as_one(settings, steps, device), **how)
        if on_cpu:
            break  # channels last is the faster there

    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, {device_name(device)}, "
        f"Python {platform.python_version()}, PyTorch {torch.__version__}",
        "command": " ".join(["python benchmarks/fused.py", *sys.argv[1:]]),
        "recipe": "fast",
        "dropout": chosen.dropout,
        "steps": steps,
        "rows": rows,
        "ratio": max(row["ratio"] for row in rows if row["way"] == "fused"),
    }
    write_json(chosen.output, result)
    print(f"ratio {result['ratio']}: {chosen.output}")


if __name__ == "__main__":
    main()
