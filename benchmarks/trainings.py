"""Many trainings of many variants, to compare them.

On the CPU each runs on one thread, one per core side by side; on an NVIDIA GPU those of one network
run as one program, and ideas, whose loop differs, one by one as CUDA graphs. Every result is
written as soon as it is there, and only what is missing is trained.
"""

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from common import DATA, VALIDATION_SIZE
from ideas import IDEAS, fit_idea
from torch import nn

from mnist12k.cnn.device import device_name
from mnist12k.cnn.evaluate import Score, evaluate
from mnist12k.cnn.network import for_images, new_network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import Digits, load_test_digits, load_training_digits, split
from mnist12k.files import read_table, write_table
from mnist12k.report.markdown import table
from mnist12k.search.fused import COMMON, fit_fused
from mnist12k.search.intervals import mean_with_interval

MOST_AS_ONE = 20  # more gain little, and their results come later
ONE_THREAD = "cpu (1 thread)"  # the device's name in the results
Task = tuple[str, Train]  # a variant's name, and one training of it


class Row(NamedTuple):
    """One training, scored on its hold-out set; without one, on the test images.

    The loss is the mean per image, the accuracy in [0, 1]. The seconds of trainings that ran as one
    program are an equal part of its own.
    """

    variant: str
    seed: int
    device: str
    loss: float
    accuracy: float
    seconds: float


def train_missing(tasks: Iterable[Task], path: Path) -> pd.DataFrame:
    """Run the trainings that the CSV file lacks, of this device; return all its rows."""
    rows: list[Row] = []
    if path.is_file():
        known = read_table(path, Row.__annotations__)
        rows = [Row(*values) for values in known[[*Row._fields]].itertuples(index=False)]
    gpu = torch.cuda.is_available()
    device = device_name(torch.device("cuda")) if gpu else ONE_THREAD
    tasks = [*tasks]
    order = [*dict.fromkeys([*(variant for variant, _ in tasks), *(row.variant for row in rows)])]
    done = {(row.variant, row.seed) for row in rows if row.device == device}
    todo = [(name, settings) for name, settings in tasks if (name, settings.seed) not in done]
    for row in on_gpu(todo) if gpu else on_cpu(todo):
        rows.append(row)
        rows.sort(key=lambda row: (order.index(row.variant), row.device, row.seed))
        write_table(path, pd.DataFrame(rows))
        print(f"{row.variant}, seed {row.seed}: loss {row.loss:.4f}, {row.seconds} s", flush=True)
    return pd.DataFrame(rows)


def on_cpu(tasks: Sequence[Task]) -> Iterator[Row]:
    """Train on one thread per core."""
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as workers:
        yield from workers.imap_unordered(train_on_one_thread, tasks)


def train_on_one_thread(task: Task) -> Row:
    """Train on the CPU."""
    torch.set_num_threads(1)
    return train_alone(*task, torch.device("cpu"))


def on_gpu(tasks: Sequence[Task]) -> Iterator[Row]:
    """Train those of one network and length as one program, then the ideas one by one."""
    groups: dict[object, list[Task]] = {}
    for task in tasks:
        name, settings = task
        same = (settings.architecture.model_dump_json(), *(getattr(settings, c) for c in COMMON))
        groups.setdefault((name, settings.seed) if name in IDEAS else same, []).append(task)
    for group in sorted(groups.values(), key=lambda group: group[0][0] in IDEAS):
        if group[0][0] in IDEAS:
            yield train_alone(*group[0], torch.device("cuda"))
        else:
            for start in range(0, len(group), MOST_AS_ONE):
                yield from train_as_one(group[start : start + MOST_AS_ONE], torch.device("cuda"))


def train_as_one(tasks: Sequence[Task], device: torch.device) -> Iterator[Row]:
    """Train networks of one architecture as one program."""
    images = images_for(tasks[0][1], device)
    settings = [prepared(each, images, device) for _, each in tasks]
    networks = [new_network(each, device) for each in settings]
    history = fit_fused(networks, images.training, images.validation, settings)[0]
    seconds = sum(epoch.seconds for epoch in history) / len(tasks)
    for (name, _), own, network in zip(tasks, settings, networks, strict=True):
        yield row(name, own, network, images.scored, seconds)


def train_alone(name: str, settings: Train, device: torch.device) -> Row:
    """Train one network, by an idea if the name is that of one."""
    images = images_for(settings, device)
    settings = prepared(settings, images, device)
    network, history = fit_idea(name, settings, images.training, images.validation, device)
    return row(name, settings, network, images.scored, sum(epoch.seconds for epoch in history))


class Images(NamedTuple):
    """All training images, what to train on, the hold-out set, and what the result is scored on."""

    given: Digits
    training: Digits
    validation: Digits
    scored: Digits


def images_for(settings: Train, device: torch.device) -> Images:
    """Load the images onto a device."""
    given = load_training_digits(DATA, settings.architecture)
    training, validation = split(given, settings.validation_size)
    scored = validation
    if not settings.validation_size:
        scored = load_test_digits(DATA, settings.architecture)
    return Images(given, training.to(device), validation.to(device), scored.to(device))


def prepared(settings: Train, images: Images, device: torch.device) -> Train:
    """Return the training for these images, as a CUDA graph on a GPU."""
    settings = for_images(settings, images.given.images)
    return settings.model_copy(update={"cuda_graph": device.type == "cuda"})


def row(name: str, settings: Train, network: nn.Module, images: Digits, seconds: float) -> Row:
    """Return the result of a training."""
    score: Score = evaluate(network, images)
    device = device_name(images.images.device)
    return Row(name, settings.seed, device, score.loss, score.accuracy, round(seconds, 1))


def on_hold_out(variants: Mapping[str, Train], seeds: Iterable[int]) -> Iterator[Task]:
    """Yield the trainings of every variant on 55,000 images, for a comparison on the others.

    The seeds are the outer loop, so that an unfinished table compares equal seeds.
    """
    for seed in seeds:
        for name, settings in variants.items():
            own = {"validation_size": VALIDATION_SIZE, "seed": seed}
            yield name, settings.model_copy(update=own)


def comparison(results: pd.DataFrame, base: str, changed: str) -> str:
    """Return the means in Markdown, with the 95 % interval of the difference to `base` by seed.

    `changed` is the heading of the variants' names. Seeds of one device are compared.
    """
    results = results.assign(errors=VALIDATION_SIZE * (1 - results["accuracy"]))
    errors = results.pivot_table("errors", index=["device", "seed"], columns="variant")
    rows = []
    for variant, own in results.groupby("variant", sort=False):
        interval = ""
        difference = (errors[variant] - errors[base]).dropna()
        if variant != base and len(difference) > 1:
            _, low, high = mean_with_interval(difference.tolist())
            interval = f"{low:.1f} to {high:.1f}"
        loss, mean = own["loss"].mean(), own["errors"].mean()
        rows.append([str(variant), str(len(own)), f"{loss:.4f}", f"{mean:.1f}", interval])
    header = [changed, "trainings", "mean loss", "mean errors", "additional errors, 95 % interval"]
    return table(header, rows)
