"""Training many models as one program against one after another: model-epochs per second.

    python benchmarks/fused.py        # writes benchmarks/fused.json; minutes

sequential     mnist12k.cnn.fit, on all cores or on the accelerator
two_processes  on a CPU only: `fit` on one thread, in two processes side by side
fused          mnist12k.search.fused.fit_fused; on an accelerator in both memory layouts, and with
               cuDNN's default choice of algorithm or the one that it measures to be fastest

Trains by the recipe `fast`, without a hold-out set: one short epoch to warm up, then three that are
timed, of which the median counts. A model-epoch is the steps of 55,000 images. The images are
MNIST's from data/mnist, or random if that is missing: the time per step does not depend on them.
The machine must be idle.
"""

import argparse
import json
import math
import multiprocessing
import statistics
from pathlib import Path
from typing import Any

import torch
from common import DATA, ROOT, VALIDATION_SIZE, command, machine

from mnist12k.cnn.architecture import Architecture
from mnist12k.cnn.device import device_name, pick_device
from mnist12k.cnn.fit import fit
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.network import new_network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import Digits, load_training_digits
from mnist12k.digits.settings import RAW
from mnist12k.files import write_json
from mnist12k.params import load_params
from mnist12k.paths import PARAMS
from mnist12k.search import fused

TRAINING_IMAGES = 60_000
LAYOUTS = {"channels_last": torch.channels_last, "channels_first": torch.contiguous_format}


def digits(count: int, kind: Architecture) -> Digits:
    """Return training images, MNIST's or random ones."""
    if (DATA / RAW).is_dir():
        return load_training_digits(DATA, kind).subset(torch.arange(count))
    images = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8)
    return Digits(images, torch.randint(0, 10, (count,)))


def seconds_per_step(history: list[Epoch], steps: int) -> float:
    """Return the median time per step, without the first epoch."""
    return statistics.median(epoch.seconds for epoch in history[1:]) / steps


def train_one(settings: Train, steps: int, device: torch.device) -> float:
    """Train one model; return the seconds per step."""
    training = digits(steps * settings.batch_size, settings.architecture)
    network = new_network(settings, device)
    nothing = training.subset(torch.arange(0))
    return seconds_per_step(fit(network, training, nothing, settings), steps)


def train_on_one_thread(settings: Train, steps: int) -> float:
    """Train one model on one thread of a CPU; return the seconds per step."""
    torch.set_num_threads(1)
    return train_one(settings, steps, torch.device("cpu"))


def train_fused(settings: list[Train], steps: int, device: torch.device) -> float:
    """Train models as one program; return the seconds per step of all of them together."""
    training = digits(steps * settings[0].batch_size, settings[0].architecture)
    networks = [new_network(each, device) for each in settings]
    nothing = training.subset(torch.arange(0))
    return seconds_per_step(fused.fit_fused(networks, training, nothing, settings)[0], steps)


def main() -> None:
    """Measure every method and number of models, print one line each, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, help="per epoch; default: 20 on a CPU, else 100")
    parser.add_argument("--models", type=int, nargs="+", help="numbers of models in one program")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    device = pick_device(options.device)
    on_cpu = device.type == "cpu"
    steps = options.steps or (20 if on_cpu else 100)
    counts = options.models or ([1, 4, 16] if on_cpu else [1, 4, 16, 64, 256])
    params = load_params(ROOT / PARAMS)
    changes = {"dropout": options.dropout, "epochs": 4, "seed": 1, "device": "cpu"}
    recipe = params.training("reference", "fast").model_copy(
        update=changes | {"validation_size": VALIDATION_SIZE}
    )
    steps_per_epoch = math.ceil((TRAINING_IMAGES - VALIDATION_SIZE) / recipe.batch_size)
    rows: list[dict[str, Any]] = []

    def add(method: str, models: int, seconds: float, **how: object) -> None:
        """Add a row; `seconds` is the time per step of all models together."""
        per_second = models / (seconds * steps_per_epoch)
        base = rows[0]["model_epochs_per_second"] if rows else per_second
        row = {"method": method, "models": models, **how, "milliseconds_per_step": seconds * 1000}
        row |= {"model_epochs_per_second": per_second, "ratio": per_second / base}
        rows.append({k: float(f"{v:.4g}") if type(v) is float else v for k, v in row.items()})
        print(json.dumps(rows[-1]), flush=True)

    add("sequential", 1, train_one(recipe, steps, device))
    if on_cpu:
        with multiprocessing.get_context("spawn").Pool(2) as workers:
            both = workers.starmap(train_on_one_thread, [(recipe, steps)] * 2, chunksize=1)
        add("two_processes", 2, statistics.mean(both))
    for layout, memory_format in LAYOUTS.items():
        for measures in (False,) if on_cpu else (False, True):
            fused.LAYOUT = memory_format
            torch.backends.cudnn.benchmark = measures
            how = {"layout": layout} | ({} if on_cpu else {"cudnn_benchmark": measures})
            for count in counts:
                settings = [recipe.model_copy(update={"seed": seed}) for seed in range(count)]
                add("fused", count, train_fused(settings, steps, device), **how)
        if on_cpu:
            break  # channels last is faster there

    result = {
        "machine": machine(device_name(device), f"PyTorch {torch.__version__}"),
        "command": command(__file__),
        "recipe": "fast",
        "dropout": options.dropout,
        "steps": steps,
        "rows": rows,
        "ratio": max(row["ratio"] for row in rows if row["method"] == "fused"),
    }
    write_json(options.output, result)
    print(f"ratio {result['ratio']}: {options.output}")


if __name__ == "__main__":
    main()
