"""One epoch of training by the same recipe: a plain PyTorch loop, a loop on tensors, and ours.

    python benchmarks/training.py             # writes benchmarks/training.json; 10 to 20 minutes
    python benchmarks/training.py --networks  # every network: writes benchmarks/networks.json

plain_loop   a DataLoader over PIL images, torchvision's transforms, PyTorch's layers and schedules;
             without workers and with two, of which the faster counts
tensor_loop  the same loop on MNIST as one tensor, with each batch augmented at once
ours         mnist12k.cnn.fit

If there is an accelerator, whole trainings by `fit` on it are timed as well: as they are, as a CUDA
graph, and with train.deterministic.

Each measurement runs in a process of its own, on all cores: one epoch to warm up and one that is
timed. All alternate for three rounds, so that a machine that slows down slows all of them, and the
median counts. Memory is the peak of the process and its workers. Needs Linux, MNIST in data/mnist
(`dvc repro fetch`) and an idle machine.
"""

import argparse
import json
import re
import resource
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import (
    DATA,
    LIBGOMP_COUNT,
    ROOT,
    command,
    fit_seconds,
    machine,
    measure_in_new_process,
    training,
    write_result,
)
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import MNIST

from mnist12k import SPIN_COUNT
from mnist12k.cnn.architecture import Architecture
from mnist12k.cnn.augment import augment
from mnist12k.cnn.device import be_deterministic, device_name, pick_device
from mnist12k.cnn.network import new_head, to_unit_range
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import SPLIT_SEED, load_training_digits, split
from mnist12k.params import load_params
from mnist12k.paths import PARAMS
from mnist12k.threads import sharing_cores

METHODS = ("plain_loop_0_workers", "plain_loop_2_workers", "tensor_loop", "ours")
ONE_THREAD = "ours_on_one_thread"
ACCELERATED = ("accelerated", "accelerated_with_graph", "accelerated_deterministic")
ROUNDS = 3
MEAN, STD = 0.1307, 0.3081  # of MNIST, for the plain loops


class PlainNetwork(nn.Module):
    """The network as PyTorch's own layers."""

    def __init__(self, layers: Architecture, dropout: float) -> None:
        super().__init__()
        self.layers = layers
        shapes = layers.shapes()
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        self.shortcuts = nn.ModuleList()
        for index, (before, block) in enumerate(zip(shapes[:-1], layers.blocks, strict=True)):
            convolution = nn.Conv2d(
                before.channels, block.channels, block.kernel, padding=block.padding
            )
            self.convolutions.append(convolution)
            self.norms.append(nn.BatchNorm2d(block.channels))
            source = layers.shortcut(index)
            if block.projection and source:
                projection = nn.Conv2d(source.channels, block.channels, 1)
                self.shortcuts.append(nn.Sequential(projection, nn.BatchNorm2d(block.channels)))
            else:
                self.shortcuts.append(nn.Identity())
        self.dropout = nn.Dropout(dropout)
        self.head = new_head(layers, shapes[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images to logits."""
        entered = []
        for block, convolution, norm, shortcut in zip(
            self.layers.blocks, self.convolutions, self.norms, self.shortcuts, strict=True
        ):
            entered.append(x)
            x = norm(convolution(x))
            if block.residual:
                x = x + shortcut(entered[-block.residual])
            x = F.relu(x)
            x = self.dropout(F.max_pool2d(x, 2) if block.pool else x)
        match self.layers.head.kind:
            case "convolution":
                return self.head(x).mean(dim=(2, 3))
            case "average":
                return self.head(x.mean(dim=(2, 3)))
            case "dense":
                return self.head(x.flatten(1))


def pil_batches(recipe: Train, workers: int) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return a data loader over PIL images."""
    affine: nn.Module = transforms.RandomAffine(
        recipe.rotation,
        translate=(recipe.shift, recipe.shift),
        scale=(1 - recipe.scale, 1 + recipe.scale),
        shear=recipe.shear or None,
        interpolation=transforms.InterpolationMode(recipe.interpolation),
        fill=recipe.fill,
    )
    transform = transforms.Compose(
        [affine, transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))]
    )
    images = MNIST(DATA, transform=transform)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SPLIT_SEED))
    digits = Subset(images, order[recipe.validation_size :].tolist())
    return DataLoader(digits, recipe.batch_size, shuffle=True, num_workers=workers)


class TensorBatches:
    """Batches of one tensor, augmented like those of `fit`."""

    def __init__(self, recipe: Train) -> None:
        self.recipe = recipe
        digits = load_training_digits(DATA, recipe.architecture)
        self.digits, _ = split(digits, recipe.validation_size)
        self.generator = torch.Generator().manual_seed(recipe.seed)

    def __len__(self) -> int:
        return -(-len(self.digits.labels) // self.recipe.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for chosen in torch.randperm(len(self.digits.labels)).split(self.recipe.batch_size):
            images = to_unit_range(self.digits.images[chosen])
            images = augment(images, self.recipe, self.generator)
            yield (images - MEAN) / STD, self.digits.labels[chosen]


def loop_seconds(
    recipe: Train, batches: DataLoader[tuple[Tensor, Tensor]] | TensorBatches
) -> float:
    """Train as PyTorch's tutorials do; return the seconds of the second epoch."""
    if isinstance(recipe.dropout, tuple):
        raise SystemExit("the plain loop has one dropout rate for all blocks")
    torch.manual_seed(recipe.seed)
    network = PlainNetwork(recipe.architecture, recipe.dropout)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    steps = len(batches)
    schedule: LRScheduler
    if recipe.schedule == "one_cycle":
        schedule = OneCycleLR(
            optimizer, recipe.learning_rate, recipe.epochs * steps, pct_start=recipe.warm_up or 0
        )
    elif recipe.schedule == "step":
        schedule = StepLR(optimizer, (recipe.step_size or 1) * steps, recipe.gamma or 1)
    else:
        raise SystemExit(f"the plain loop has no schedule {recipe.schedule}")
    average = None
    if recipe.ema_decay:
        rule = get_ema_multi_avg_fn(recipe.ema_decay)
        average = AveragedModel(network, multi_avg_fn=rule, use_buffers=True)
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
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
        seconds = time.perf_counter() - start
    return seconds


def accelerated_seconds(method: str, recipe: Train) -> float:
    """Train by `fit` on the accelerator; return the seconds of all epochs."""
    device = pick_device("auto")
    if method == "accelerated_with_graph":
        recipe = recipe.model_copy(update={"cuda_graph": True})
    if method == "accelerated_deterministic":
        be_deterministic()
    return sum(fit_seconds(recipe, device))


def peak_memory() -> int:
    """Return this process's peak memory in KiB."""
    # Not from getrusage, where a new process starts with its parent's peak.
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line)


def measure(method: str, recipe: Train) -> dict[str, float]:
    """Measure one method in this process."""
    if method in ACCELERATED:
        return {"seconds": round(accelerated_seconds(method, recipe), 2)}
    if method in ("ours", ONE_THREAD):
        if method == ONE_THREAD:
            torch.set_num_threads(1)
        two_epochs = recipe.model_copy(update={"epochs": 2})
        with sharing_cores():
            seconds = fit_seconds(two_epochs, torch.device("cpu"))[-1]
    elif method == "tensor_loop":
        seconds = loop_seconds(recipe, TensorBatches(recipe))
    else:
        seconds = loop_seconds(recipe, pil_batches(recipe, int(method.split("_")[2])))
    peak = peak_memory()
    if method == "plain_loop_2_workers":
        peak += 2 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"seconds_per_epoch": round(seconds, 2), "peak_memory_mib": round(peak / 1024, 2)}


def measure_in_turn(tasks: list[tuple[str, Train]]) -> list[dict[str, float]]:
    """Measure each method with its recipe, round after round; return the medians."""

    def measure_once(method: str, recipe: Train) -> dict[str, float]:
        arguments = ("--method", method, "--settings", recipe.model_dump_json())
        # What people write does not set how threads wait.
        spin_count = SPIN_COUNT if method.startswith("ours") else LIBGOMP_COUNT
        measured = measure_in_new_process(__file__, *arguments, spin_count=spin_count)
        print(method, recipe.network, recipe.recipe, measured, flush=True)
        return measured

    rounds = [[measure_once(*task) for task in tasks] for _ in range(ROUNDS)]
    return [
        {name: statistics.median(each[name] for each in same) for name in same[0]}
        for same in zip(*rounds, strict=True)
    ]


def compare(recipe: str) -> dict[str, Any]:
    """Measure all methods by this recipe, and `reference` in the plain loop against `fast`."""
    recipes = {name: training(name) for name in {recipe, "reference", "fast", "best"}}
    tasks = [(method, recipes[recipe]) for method in METHODS]
    tasks += [(METHODS[0], recipes["reference"]), ("ours", recipes["fast"])]
    *measured, reference, fast = measure_in_turn(tasks)
    by_method = dict(zip(METHODS, measured, strict=True))
    plain = min(METHODS[:2], key=lambda method: by_method[method]["seconds_per_epoch"])
    ratio = by_method[plain]["seconds_per_epoch"] / by_method["ours"]["seconds_per_epoch"]
    reference_seconds = recipes["reference"].epochs * reference["seconds_per_epoch"]
    fast_seconds = recipes["fast"].epochs * fast["seconds_per_epoch"]
    result: dict[str, Any] = {
        "machine": machine(f"{torch.get_num_threads()} threads", f"PyTorch {torch.__version__}"),
        "command": command(__file__),
        "recipe": recipe,
        "plain_loop": by_method[plain] | {"workers": int(plain.split("_")[2])},
        "plain_loop_workers": {name.split("_")[2]: by_method[name] for name in METHODS[:2]},
        "tensor_loop": by_method["tensor_loop"],
        "ours": by_method["ours"],
        "ratio": round(ratio, 2),
        "fast_against_reference": {
            "reference_in_plain_loop_without_workers_seconds": round(reference_seconds, 1),
            "fast_seconds": round(fast_seconds, 1),
            "ratio": round(reference_seconds / fast_seconds, 1),
        },
    }
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is not None:
        tasks = [(method, recipes[name]) for name in ("fast", "best") for method in ACCELERATED]
        result["accelerator"] = device_name(accelerator)
        result["accelerator_seconds_per_training"] = {
            f"{settings.recipe}, {method}": each["seconds"]
            for (method, settings), each in zip(tasks, measure_in_turn(tasks), strict=True)
        }
    return result


def compare_networks(recipe: str) -> dict[str, Any]:
    """Measure every network of params.yaml in the plain loop, without workers, and by `fit`."""
    methods = (METHODS[0], "ours", ONE_THREAD)
    trainings = [training(recipe, name) for name in load_params(ROOT / PARAMS).networks]
    measured = measure_in_turn([(method, each) for each in trainings for method in methods])
    seconds = [each["seconds_per_epoch"] for each in measured]
    rows = [
        {
            "network": each.network,
            "plain_loop_seconds_per_epoch": plain,
            "seconds_per_epoch": ours,
            "ratio": round(plain / ours, 2),
            "seconds_per_epoch_on_one_thread": one_thread,
        }
        for each, plain, ours, one_thread in zip(
            trainings, seconds[::3], seconds[1::3], seconds[2::3], strict=True
        )
    ]
    return {
        "machine": machine(f"{torch.get_num_threads()} threads", f"PyTorch {torch.__version__}"),
        "command": command(__file__),
        "recipe": recipe,
        "networks": rows,
        "ratio": min(row["ratio"] for row in rows),
    }


def main() -> None:
    """Measure one method, or compare all and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="best")
    parser.add_argument(
        "--method",
        choices=(*METHODS, ONE_THREAD, *ACCELERATED),
        help="only measure this, and print it",
    )
    parser.add_argument("--settings", help="of --method: a whole training as JSON")
    parser.add_argument("--networks", action="store_true", help="compare networks instead")
    options = parser.parse_args()
    if options.networks:
        write_result(Path(__file__).with_name("networks.json"), compare_networks(options.recipe))
    elif options.method:
        settings = Train.model_validate_json(options.settings)
        print(json.dumps(measure(options.method, settings)))
    else:
        write_result(Path(__file__).with_suffix(".json"), compare(options.recipe))


if __name__ == "__main__":
    main()
