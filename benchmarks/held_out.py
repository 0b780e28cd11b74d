"""Trainings that are compared on the hold-out set: many variants, from the same seeds.

Each runs on one thread of the CPU, one per core side by side, on 55,000 images; the test images are
not used. Every result is written as soon as it is there, and only what is missing is trained.
"""

import multiprocessing
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from common import DATA, VALIDATION_SIZE
from ideas import fit_idea
from scipy import stats

from mnist12k.cnn.network import for_images
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import load_training_digits, split
from mnist12k.files import read_table, write_table
from mnist12k.report.markdown import table


class Row(NamedTuple):
    """One training of a variant; the loss is the mean per image, the accuracy in [0, 1]."""

    variant: str
    seed: int
    validation_loss: float
    validation_accuracy: float
    seconds: float


def train_missing(variants: Mapping[str, Train], seeds: Iterable[int], path: Path) -> pd.DataFrame:
    """Train every variant from every seed that the CSV file lacks; return all rows."""
    rows: list[Row] = []
    if path.is_file():
        known = read_table(path, Row.__annotations__)
        rows = [Row(*values) for values in known[[*Row._fields]].itertuples(index=False)]
    done = {(row.variant, row.seed) for row in rows}
    own = {"device": "cpu", "validation_size": VALIDATION_SIZE}
    todo = [
        (variant, training.model_copy(update=own | {"seed": seed}))
        for seed in seeds  # the outer loop, so that an unfinished table compares equal seeds
        for variant, training in variants.items()
        if (variant, seed) not in done
    ]
    order = [*dict.fromkeys([*variants, *(row.variant for row in rows)])]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as workers:
        for row in workers.imap_unordered(train_once, todo):
            rows.append(row)
            rows.sort(key=lambda row: (order.index(row.variant), row.seed))
            write_table(path, pd.DataFrame(rows))
            print(f"{row.variant}, seed {row.seed}: loss {row.validation_loss:.4f}", flush=True)
    return pd.DataFrame(rows)


def train_once(task: tuple[str, Train]) -> Row:
    """Train on one thread, and evaluate on the hold-out set."""
    variant, settings = task
    torch.set_num_threads(1)
    digits = load_training_digits(DATA, settings.architecture)
    settings = for_images(settings, digits.images)
    score, history = fit_idea(variant, settings, *split(digits, VALIDATION_SIZE))
    seconds = round(sum(epoch.seconds for epoch in history), 1)
    return Row(variant, settings.seed, score.loss, score.accuracy, seconds)


def comparison(results: pd.DataFrame, base: str, changed: str) -> str:
    """Return the means in Markdown, with the 95 % interval of the difference to `base` by seed.

    `changed` is the heading of the variants' names.
    """
    results = results.assign(errors=VALIDATION_SIZE * (1 - results["validation_accuracy"]))
    errors = results.pivot_table("errors", index="seed", columns="variant")
    rows = []
    for variant, own in results.groupby("variant", sort=False):
        interval = ""
        difference = (errors[variant] - errors[base]).dropna()
        if variant != base and len(difference) > 1:
            half = stats.sem(difference) * stats.t.ppf(0.975, len(difference) - 1)
            interval = f"{difference.mean() - half:.1f} to {difference.mean() + half:.1f}"
        loss, mean = own["validation_loss"].mean(), own["errors"].mean()
        rows.append([str(variant), str(len(own)), f"{loss:.4f}", f"{mean:.1f}", interval])
    header = [changed, "seeds", "mean loss", "mean errors", "additional errors, 95 % interval"]
    return table(header, rows)
