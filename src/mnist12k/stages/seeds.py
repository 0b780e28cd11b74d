"""How far a recipe's test accuracy spreads: many trainings, alike but for their seed.

Opens the test images, after every choice has been made, to report and for nothing else.
"""

import csv
import json
import math
import multiprocessing
import os
import signal
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from mnist12k.cnn.evaluate import evaluate
from mnist12k.cnn.fit import fit
from mnist12k.cnn.intervals import student_t
from mnist12k.cnn.network import new_network
from mnist12k.digits.dataset import load_test_digits, load_training_digits, split
from mnist12k.files import write_csv, write_json
from mnist12k.params import Params, Train
from mnist12k.report.seeds import draw_seeds

DATA = Path("data/mnist")
REPORTS = Path("reports/seeds")
RESULTS, RECIPES = REPORTS / "results.csv", REPORTS / "recipes.json"
FIGURES, PICTURE = REPORTS / "metrics.json", REPORTS / "test_accuracy.png"
Recipes = dict[str, dict[str, object]]


class Row(NamedTuple):
    """One training: accuracies in [0, 1], None for validation where all 60,000 images train."""

    recipe: str
    seed: int
    epochs: int
    validation_accuracy: float | None
    test_accuracy: float
    seconds: float


def run(params: Params) -> None:
    """Train every recipe of params.seeds from every seed, one thread a training, on all cores.

    Each training's row is in results.csv as soon as it ends, and in the summary and the picture of
    what is there, and stays: a later run trains what is missing. The rows of a recipe that has
    changed since are left out, and trained again.
    """
    chosen = params.seeds
    recipes: Recipes = {
        name: params.recipes[name].model_dump(exclude_defaults=True)
        | {"validation_size": chosen.validation_size}
        for name in chosen.recipes
    }
    rows = list(earlier_rows(recipes))
    done = {(row.recipe, row.seed) for row in rows}
    todo = [
        params.training(name, seed, chosen.validation_size)
        for name in chosen.recipes
        for seed in range(1, chosen.count + 1)
        if (name, seed) not in done
    ]
    images = load_training_digits(DATA).labels.numel() - chosen.validation_size
    print(f"{len(done)} trainings are there, {len(todo)} to go, on {images:,} images each")

    write_json(RECIPES, recipes)
    summarise(rows, images)
    # A new process, not a copy of this one: a copy of a process with threads can hang.
    workers = multiprocessing.get_context("spawn").Pool(os.cpu_count(), prepare_worker)
    with workers:
        for row in workers.imap_unordered(train_once, todo):
            rows.append(row)
            rows.sort(key=lambda row: (chosen.recipes.index(row.recipe), row.seed))
            write_csv(RESULTS, Row._fields, rows)
            summarise(rows, images)
            print(
                f"{row.recipe} from seed {row.seed}: "
                f"test accuracy {row.test_accuracy:.2%}, {row.seconds:.0f} s",
                flush=True,
            )


def earlier_rows(recipes: Recipes) -> Iterator[Row]:
    """Yield the rows of results.csv whose recipes are still what they were."""
    if not (RESULTS.is_file() and RECIPES.is_file()):
        return
    known = json.loads(RECIPES.read_text(encoding="utf-8"))
    with RESULTS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name, validation_accuracy = row["recipe"], row["validation_accuracy"]
            if name in recipes and known.get(name) == recipes[name]:
                yield Row(
                    name,
                    int(row["seed"]),
                    int(row["epochs"]),
                    float(validation_accuracy) if validation_accuracy else None,
                    round(float(row["test_accuracy"]), 6),
                    float(row["seconds"]),
                )


def prepare_worker() -> None:
    """Compute on one thread, and leave Ctrl-C to the process that started this one."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def train_once(settings: Train) -> Row:
    """Train, measure on the test images, and return the row."""
    network = new_network(settings.dropout, settings.seed, torch.device(settings.device))
    history = fit(network, *split(load_training_digits(DATA), settings.validation_size), settings)
    return Row(
        settings.recipe,
        settings.seed,
        settings.epochs,
        history[-1].validation_accuracy,
        round(evaluate(network, load_test_digits(DATA)).accuracy, 6),
        round(sum(epoch.seconds for epoch in history), 3),
    )


def summarise(rows: list[Row], images: int) -> None:
    """Write the figures and the picture of every recipe that has trained from two seeds or more."""
    found = summaries(rows, images)
    if not found:
        FIGURES.unlink(missing_ok=True)  # of recipes that have changed since
        PICTURE.unlink(missing_ok=True)
        return
    write_json(FIGURES, found)
    accuracies = {name: [r.test_accuracy for r in rows if r.recipe == name] for name in found}
    draw_seeds(accuracies, PICTURE)


def summaries(rows: list[Row], images: int) -> dict[str, dict[str, float]]:
    """Return, by recipe, the mean test accuracy with its 95 % interval, and what surrounds it.

    One training alone has neither.
    """
    found = {}
    for name in dict.fromkeys(row.recipe for row in rows):
        mine = [row for row in rows if row.recipe == name]
        if len(mine) < 2:
            continue
        accuracies = [row.test_accuracy for row in mine]
        mean, spread = statistics.mean(accuracies), statistics.stdev(accuracies)
        half = student_t(len(mine) - 1) * spread / math.sqrt(len(mine))
        found[name] = {
            "trainings": len(mine),
            "epochs": mine[0].epochs,
            "training_images": images,
            "test_accuracy_mean": mean,
            "test_accuracy_sd": spread,
            "test_accuracy_mean_low": mean - half,
            "test_accuracy_mean_high": mean + half,
            "test_accuracy_lowest": min(accuracies),
            "test_accuracy_highest": max(accuracies),
            "seconds_mean": statistics.mean(row.seconds for row in mine),
        }
    return found
