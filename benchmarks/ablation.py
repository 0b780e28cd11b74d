"""What each part of the recipe `best` brings: the recipe without it, from five seeds.

    python benchmarks/ablation.py        # adds to benchmarks/ablation.csv; hours on two cores

Trains on 55,000 images and measures on the 5,000 held out; the test images stay closed. A row a
training is there as soon as it ends, and a later run trains what is missing. Prints the table that
benchmarks/README.md shows.
"""

import csv
import math
import multiprocessing
import os
import statistics
from pathlib import Path
from typing import NamedTuple

import torch

from mnist12k.cnn.fit import fit
from mnist12k.cnn.intervals import student_t
from mnist12k.cnn.network import new_network
from mnist12k.digits.dataset import load_training_digits, split
from mnist12k.files import write_csv
from mnist12k.params import Train, load_params

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_suffix(".csv")
SEEDS = range(1, 6)
VALIDATION_SIZE = 5000
WITHOUT: dict[str, dict[str, object]] = {
    "nothing": {},
    "the average of weights": {"average": 0},
    "the one-cycle schedule, a cosine instead": {"schedule": "cosine"},
    "Nesterov": {"nesterov": False},
    "weight decay": {"weight_decay": 0},
    "dropout": {"dropout": 0},
    "rotation": {"rotation": 0},
    "shift": {"shift": 0},
    "scale": {"scale": 0},
    "any augmentation": {"rotation": 0, "shift": 0, "scale": 0, "shear": 0},
}


class Row(NamedTuple):
    """One training without one part."""

    without: str
    seed: int
    validation_loss: float
    validation_accuracy: float
    seconds: float


def train_once(task: tuple[str, Train]) -> Row:
    """Train on one thread, and measure on validation."""
    without, settings = task
    torch.set_num_threads(1)
    network = new_network(settings.dropout, settings.seed, torch.device("cpu"))
    digits = load_training_digits(ROOT / "data/mnist")
    history = fit(network, *split(digits, VALIDATION_SIZE), settings)
    last = history[-1]
    assert last.validation_loss is not None
    assert last.validation_accuracy is not None
    seconds = round(sum(epoch.seconds for epoch in history), 1)
    return Row(without, settings.seed, last.validation_loss, last.validation_accuracy, seconds)


def main() -> None:
    """Train what is missing, a row at a time, then print the table."""
    params = load_params(ROOT / "params.yaml")
    rows = []
    if RESULTS.is_file():
        with RESULTS.open(encoding="utf-8", newline="") as file:
            rows = [
                Row(r["without"], int(r["seed"]), *(float(r[name]) for name in Row._fields[2:]))
                for r in csv.DictReader(file)
            ]
    done = {(row.without, row.seed) for row in rows}
    todo = [
        (without, params.training("best", seed, VALIDATION_SIZE).model_copy(update=changes))
        for seed in SEEDS  # a seed through all parts, then the next: an unfinished table is fair
        for without, changes in WITHOUT.items()
        if (without, seed) not in done
    ]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as workers:
        for row in workers.imap_unordered(train_once, todo):
            rows.append(row)
            rows.sort(key=lambda row: (list(WITHOUT).index(row.without), row.seed))
            write_csv(RESULTS, Row._fields, rows)

    print_table(rows)


def print_table(rows: list[Row]) -> None:
    """Print the means, and how many more are wrong than by the whole recipe, by seed."""
    print(
        "| `best` without | seeds | validation loss | wrong of 5,000 | more wrong, interval |\n"
        "|---|---|---|---|---|"
    )
    wrong = {(r.without, r.seed): (1 - r.validation_accuracy) * VALIDATION_SIZE for r in rows}
    for without in WITHOUT:
        mine = [row for row in rows if row.without == without]
        loss = statistics.mean(row.validation_loss for row in mine)
        mean = statistics.mean(wrong[without, row.seed] for row in mine)
        more = [wrong[without, row.seed] - wrong["nothing", row.seed] for row in mine]
        half = student_t(len(more) - 1) * statistics.stdev(more) / math.sqrt(len(more))
        centre = statistics.mean(more)
        between = f"{centre - half:.1f} to {centre + half:.1f}" if without != "nothing" else ""
        print(f"| {without} | {len(mine)} | {loss:.4f} | {mean:.1f} | {between} |")


if __name__ == "__main__":
    main()
