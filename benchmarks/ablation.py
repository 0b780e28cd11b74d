"""What each part of the recipe `best` contributes: the recipe without it, from five seeds.

    python benchmarks/ablation.py        # adds to benchmarks/ablation.csv; hours on two cores

Trains on 55,000 images and evaluates on the hold-out set of 5,000; the test images are not used.
Each training's row is written as soon as it ends, and a later run trains only what is missing.
Prints the table in benchmarks/README.md.
"""

import multiprocessing
import os
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from common import DATA, ROOT, VALIDATION_SIZE
from scipy import stats

from mnist12k.cnn.fit import fit
from mnist12k.cnn.network import for_images, new_network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import load_training_digits, split
from mnist12k.files import read_table, write_table
from mnist12k.params import load_params
from mnist12k.paths import PARAMS

RESULTS = Path(__file__).with_suffix(".csv")
SEEDS = range(1, 6)
CHANGES: dict[str, dict[str, object]] = {  # by what they remove
    "nothing": {},
    "moving average of the weights": {"ema_decay": 0},
    "one-cycle schedule (cosine instead)": {"schedule": "cosine"},
    "Nesterov momentum": {"nesterov": False},
    "weight decay": {"weight_decay": 0},
    "dropout": {"dropout": 0},
    "rotation": {"rotation": 0},
    "shift": {"shift": 0},
    "scale": {"scale": 0},
    "all augmentation": {"rotation": 0, "shift": 0, "scale": 0, "shear": 0},
}


class Row(NamedTuple):
    """One training without one part; the loss is the mean per image, the accuracy in [0, 1]."""

    removed: str
    seed: int
    validation_loss: float
    validation_accuracy: float
    seconds: float


def main() -> None:
    """Run the missing trainings, then print the table."""
    params = load_params(ROOT / PARAMS)
    recipe = params.training("reference", "best").model_copy(
        update={"device": "cpu", "validation_size": VALIDATION_SIZE}
    )
    rows: list[Row] = []
    if RESULTS.is_file():
        table = read_table(RESULTS, Row.__annotations__)
        rows = [Row(*values) for values in table[[*Row._fields]].itertuples(index=False)]
    done = {(row.removed, row.seed) for row in rows}
    changed = {removed: recipe.model_copy(update=new) for removed, new in CHANGES.items()}
    todo = [
        (removed, changed[removed].model_copy(update={"seed": seed}))
        for seed in SEEDS  # the outer loop, so that an unfinished table compares equal seeds
        for removed in CHANGES
        if (removed, seed) not in done
    ]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as workers:
        for row in workers.imap_unordered(train_once, todo):
            rows.append(row)
            rows.sort(key=lambda row: (list(CHANGES).index(row.removed), row.seed))
            write_table(RESULTS, pd.DataFrame(rows))
    print_table(pd.DataFrame(rows))


def train_once(task: tuple[str, Train]) -> Row:
    """Train on one thread, and evaluate on the hold-out set."""
    removed, settings = task
    torch.set_num_threads(1)
    digits = load_training_digits(DATA, settings.architecture)
    settings = for_images(settings, digits.images)
    network = new_network(settings, torch.device("cpu"))
    history = fit(network, *split(digits, VALIDATION_SIZE), settings)
    last = history[-1]
    assert last.validation_loss is not None
    assert last.validation_accuracy is not None
    seconds = round(sum(epoch.seconds for epoch in history), 1)
    return Row(removed, settings.seed, last.validation_loss, last.validation_accuracy, seconds)


def print_table(results: pd.DataFrame) -> None:
    """Print the means, and the 95 % interval of the mean difference to the whole recipe by seed."""
    results = results.assign(errors=VALIDATION_SIZE * (1 - results["validation_accuracy"]))
    errors = results.pivot_table("errors", index="seed", columns="removed")
    print("| removed | seeds | mean loss | mean errors | additional errors, 95 % interval |")
    print("|---|---|---|---|---|")
    for removed, rows in results.groupby("removed", sort=False):
        interval = ""
        if removed != "nothing":
            difference = (errors[removed] - errors["nothing"]).dropna()
            half = stats.sem(difference) * stats.t.ppf(0.975, len(difference) - 1)
            interval = f"{difference.mean() - half:.1f} to {difference.mean() + half:.1f}"
        loss, mean = rows["validation_loss"].mean(), rows["errors"].mean()
        print(f"| {removed} | {len(rows)} | {loss:.4f} | {mean:.1f} | {interval} |")


if __name__ == "__main__":
    main()
