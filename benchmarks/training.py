"""An epoch of training in three ways, for the same recipe: as people write it, on tensors, ours.

    python benchmarks/training.py        # writes benchmarks/training.json; 10 to 20 minutes

plain_loop   a DataLoader over PIL images, torchvision's transforms, PyTorch's own layers and
             schedules; with no worker and with two, of which the faster counts
tensor_loop  the same loop, but MNIST is one tensor and a batch is augmented at once
ours         mnist12k.cnn.fit

Where there is an accelerator, whole trainings by `fit` on it are timed besides: as it is, without
a CUDA graph, and with train.deterministic.

Each way runs in a process of its own, on all cores, for a warm-up epoch and one that is timed; all
ways take turns, three times, so that a machine that slows down meanwhile slows all of them; the
median counts. Memory is the process's peak and its workers'. Data must lie in data/mnist
(`dvc repro fetch`). The machine must be idle.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR, StepLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import MNIST

from mnist12k.cnn.device import device_name
from mnist12k.digits.dataset import SPLIT_SEED
from mnist12k.files import write_json
from mnist12k.params import Train, load_params

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data/mnist"
WAYS = ("plain_loop_0_workers", "plain_loop_2_workers", "tensor_loop", "ours")
ACCELERATED = ("accelerated", "accelerated_without_graph", "accelerated_deterministic")
ROUNDS = 3
Batches = Iterable[tuple[Tensor, Tensor]]


def plain_network(dropout: float) -> nn.Module:
    """Return the seven convolutions out of PyTorch's own layers."""

    def block(before: int, after: int, padding: int, pool: bool = False) -> list[nn.Module]:
        layers = [nn.Conv2d(before, after, 3, padding=padding), nn.BatchNorm2d(after), nn.ReLU()]
        return [*layers, *([nn.MaxPool2d(2)] if pool else []), nn.Dropout(dropout)]

    return nn.Sequential(
        *block(1, 8, 1),
        *block(8, 8, 1),
        *block(8, 8, 1, pool=True),
        *block(8, 16, 1),
        *block(16, 16, 0, pool=True),
        *block(16, 32, 0),
        nn.Conv2d(32, 10, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def pil_batches(recipe: Train, workers: int) -> Batches:
    """Return a data loader over PIL images."""
    moves: nn.Module = transforms.RandomAffine(
        recipe.rotation,
        translate=(recipe.shift, recipe.shift),
        scale=(1 - recipe.scale, 1 + recipe.scale),
        shear=recipe.shear or None,
        interpolation=transforms.InterpolationMode(recipe.interpolation),
        fill=recipe.fill,
    )
    transform = transforms.Compose(
        [moves, transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    order = torch.randperm(60_000, generator=torch.Generator().manual_seed(SPLIT_SEED))
    digits = Subset(MNIST(DATA, transform=transform), order[recipe.validation_size :].tolist())
    return DataLoader(digits, recipe.batch_size, shuffle=True, num_workers=workers)


class TensorBatches:
    """Batches of one tensor, augmented as `fit` does it."""

    def __init__(self, recipe: Train) -> None:
        from mnist12k.digits.dataset import load_training_digits, split

        self.recipe = recipe
        self.digits, _ = split(load_training_digits(DATA), recipe.validation_size)
        self.generator = torch.Generator().manual_seed(recipe.seed)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        from mnist12k.cnn.augment import augment

        for chosen in torch.randperm(len(self.digits.labels)).split(self.recipe.batch_size):
            images = self.digits.images[chosen].unsqueeze(1).float() / 255
            images = augment(images, self.recipe, self.generator)
            yield (images - 0.1307) / 0.3081, self.digits.labels[chosen]


def loop_seconds(recipe: Train, batches: Batches) -> float:
    """Train as PyTorch's tutorials do; return the seconds of the second epoch."""
    torch.manual_seed(recipe.seed)
    network = plain_network(recipe.dropout)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    steps = -(-(60_000 - recipe.validation_size) // recipe.batch_size)
    if recipe.schedule == "one_cycle":
        schedule = OneCycleLR(
            optimizer, recipe.learning_rate, recipe.epochs * steps, pct_start=recipe.warm_up or 0
        )
    elif recipe.schedule == "step":
        schedule = StepLR(optimizer, (recipe.step_size or 1) * steps, recipe.gamma or 1)
    else:
        raise SystemExit(f"the plain loop has no schedule {recipe.schedule}")
    average = None
    if recipe.average:
        rule = get_ema_multi_avg_fn(recipe.average)
        average = AveragedModel(network, multi_avg_fn=rule, use_buffers=True)
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        network.train()
        loss_sum = 0.0
        for images, labels in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(network(images), labels, label_smoothing=recipe.label_smoothing)
            loss.backward()
            optimizer.step()
            schedule.step()
            if average is not None:
                average.update_parameters(network)
            loss_sum += loss.item()
        seconds = time.perf_counter() - started
    return seconds


def our_seconds(recipe: Train) -> float:
    """Train by `fit`, without validation, as the loops do; return the second epoch's seconds."""
    from mnist12k.cnn.fit import fit
    from mnist12k.cnn.network import new_network
    from mnist12k.digits.dataset import load_training_digits, split

    training, validation = split(load_training_digits(DATA), recipe.validation_size)
    network = new_network(recipe.dropout, recipe.seed, torch.device("cpu"))
    nothing = validation.subset(torch.arange(0))
    return fit(network, training, nothing, recipe.model_copy(update={"epochs": 2}))[-1].seconds


def accelerated_seconds(way: str, recipe: Train) -> float:
    """Train by `fit` on the accelerator to the end, without validation; return all its seconds."""
    from mnist12k.cnn import fit
    from mnist12k.cnn.device import be_deterministic, pick_device
    from mnist12k.cnn.network import new_network
    from mnist12k.digits.dataset import load_training_digits, split

    if way == "accelerated_without_graph":
        fit.replayed = lambda step, _generators: step
    if way == "accelerated_deterministic":
        be_deterministic()
    training, validation = split(load_training_digits(DATA), recipe.validation_size)
    network = new_network(recipe.dropout, recipe.seed, pick_device("auto"))
    nothing = validation.subset(torch.arange(0))
    return sum(epoch.seconds for epoch in fit.fit(network, training, nothing, recipe))


def measure(way: str, recipe: Train) -> None:
    """Run one way in this process, and print what it took."""
    ways: dict[str, Callable[[], float]] = {
        "plain_loop_0_workers": lambda: loop_seconds(recipe, pil_batches(recipe, 0)),
        "plain_loop_2_workers": lambda: loop_seconds(recipe, pil_batches(recipe, 2)),
        "tensor_loop": lambda: loop_seconds(recipe, TensorBatches(recipe)),
        "ours": lambda: our_seconds(recipe),
    }
    if way in ACCELERATED:
        print(json.dumps({"seconds": round(accelerated_seconds(way, recipe), 2)}))
        return
    seconds = ways[way]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if way == "plain_loop_2_workers":
        peak += 2 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    found = {"seconds_per_epoch": seconds, "peak_memory_mib": peak / 1024}
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))


def measured(tasks: list[tuple[str, str]]) -> list[dict[str, float]]:
    """Run ways with recipes in turns; return what each took, the median of its rounds."""
    rounds = [[measured_once(*task) for task in tasks] for _ in range(ROUNDS)]
    return [
        {name: statistics.median(each[name] for each in same) for name in same[0]}
        for same in zip(*rounds, strict=True)
    ]


def measured_once(way: str, recipe: str) -> dict[str, float]:
    """Run one way in a process of its own, and return what it took."""
    command = [sys.executable, __file__, "--way", way, "--recipe", recipe]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    print(way, recipe, done.stdout.strip(), flush=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure every way with the default recipe, and the seed's in the plain loop; write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--way", choices=WAYS + ACCELERATED, help="measure this one here, and print it"
    )
    parser.add_argument("--recipe", default="best")
    chosen = parser.parse_args()
    params = load_params(ROOT / "params.yaml")
    if chosen.way:
        return measure(chosen.way, params.training(chosen.recipe, 1, 5000))

    plain_without_workers = WAYS[0]
    *of_ways, reference, ours_fast = measured(
        [*((way, chosen.recipe) for way in WAYS), (plain_without_workers, "seed"), ("ours", "fast")]
    )
    ways = dict(zip(WAYS, of_ways, strict=True))
    plain = min(WAYS[:2], key=lambda way: ways[way]["seconds_per_epoch"])
    fast, seed = params.recipes["fast"].epochs, params.recipes["seed"].epochs
    our_time = fast * ours_fast["seconds_per_epoch"]
    reference_time = seed * reference["seconds_per_epoch"]
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, {torch.get_num_threads()} "
        f"threads, Python {platform.python_version()}, PyTorch {torch.__version__}",
        "command": "python benchmarks/training.py",
        "recipe": chosen.recipe,
        "plain_loop": ways[plain] | {"workers": int(plain.split("_")[2])},
        "plain_loop_workers": {way.split("_")[2]: ways[way] for way in WAYS[:2]},
        "tensor_loop": ways["tensor_loop"],
        "ours": ways["ours"],
        "ratio": round(ways[plain]["seconds_per_epoch"] / ways["ours"]["seconds_per_epoch"], 2),
        "fast_against_the_reference": {
            "reference_recipe_in_the_plain_loop_without_workers_seconds": round(reference_time, 1),
            "fast_seconds": round(our_time, 1),
            "ratio": round(reference_time / our_time, 1),
        },
    }
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is not None:
        tasks = [(way, recipe) for recipe in ("fast", "best") for way in ACCELERATED]
        found = zip(tasks, measured(tasks), strict=True)
        result["accelerator"] = device_name(accelerator)
        result["seconds_of_whole_trainings_on_it"] = {
            f"{recipe}, {way}": seconds["seconds"] for (way, recipe), seconds in found
        }
    write_json(Path(__file__).with_suffix(".json"), result)
    print(json.dumps(result, indent=2))
    return None


if __name__ == "__main__":
    main()
