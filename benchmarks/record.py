"""How far the best of architectures.csv gets, and with more epochs: its test accuracy.

    python benchmarks/record.py          # after architectures.py; minutes on a GPU, else days

The variant has the lowest mean loss on the hold-out set there, among those with the most trainings.
It and the reference network by `best` train on all 60,000 images from 20 seeds, and the variant
also for more epochs. Adds to benchmarks/record.csv, and writes record.md beside it.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from architectures import BASE, variants
from architectures import RESULTS as COMPARED
from common import ROOT
from ideas import IDEAS
from trainings import Row, Task, train_missing

from mnist12k.files import read_table, write_text
from mnist12k.params import load_params
from mnist12k.paths import PARAMS
from mnist12k.report.markdown import table
from mnist12k.stages.seeds import mean_with_interval

RESULTS, TABLE = (Path(__file__).with_suffix(suffix) for suffix in (".csv", ".md"))
SEEDS = 20
LONGER = {50: 5, 200: 2}  # epochs, and their number of trainings


def best_variant() -> str:
    """Return the variant that the hold-out set prefers."""
    results = read_table(COMPARED, Row.__annotations__)
    # Smoothed labels raise the loss itself.
    results = results[~results["variant"].isin([*IDEAS, "label smoothing 0.05"])]
    by_variant = results.groupby("variant")["loss"]
    most = by_variant.size().max()
    return str(by_variant.mean()[by_variant.size() == most].idxmin())


def tasks(best: str) -> Iterator[Task]:
    """Yield the trainings."""
    trainings = variants(load_params(ROOT / PARAMS))
    for seed in range(1, SEEDS + 1):
        for name in dict.fromkeys([best, BASE]):
            yield name, trainings[name].model_copy(update={"seed": seed, "validation_size": 0})
    for epochs, count in LONGER.items():
        for seed in range(1, count + 1):
            own = {"seed": seed, "validation_size": 0, "epochs": epochs}
            yield f"{best}, {epochs} epochs", trainings[best].model_copy(update=own)


def summary(results: pd.DataFrame) -> str:
    """Return the mean test accuracies in Markdown, with 95 % intervals, and the difference."""
    accuracies = results.pivot_table("accuracy", index=["device", "seed"], columns="variant")
    rows = []
    for variant, own in results.groupby("variant", sort=False):
        differences = (accuracies[variant] - accuracies[BASE]).dropna().tolist()
        difference = interval(differences, "+.3f") if variant != BASE else ""
        rows.append([str(variant), str(len(own)), interval(own["accuracy"].tolist()), difference])
    header = ["variant", "trainings", "mean test accuracy, %", "difference by seed, points"]
    return table(header, rows)


def interval(values: list[float], form: str = ".3f") -> str:
    """Return a mean of fractions in percent, with its 95 % interval if it has one."""
    if len(values) < 2:
        return ""
    mean, low, high = (f"{100 * value:{form}}" for value in mean_with_interval(values))
    return f"{mean} ({low} to {high})"


def main() -> None:
    """Run the missing trainings, then write the table."""
    text = summary(train_missing(tasks(best_variant()), RESULTS))
    write_text(TABLE, f"# The best network and recipe on the test images\n\n{text}")
    print(text)


if __name__ == "__main__":
    main()
