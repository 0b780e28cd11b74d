"""How far the best of architectures.csv gets on the test images, and the reference trained longer.

    python benchmarks/record.py 19 1 2 3     # epochs, then seeds; minutes on a GPU
    python benchmarks/record.py              # write the table again

The best has the lowest mean loss on the hold-out set in architectures.csv, over the seeds that
every variant there has. It and the reference network by `best` train on all 60,000 images for 19
epochs; for another number of epochs, only the reference does. On a CPU the reference's trainings
for 19 epochs are those of reports/seeds. Adds to benchmarks/record.csv, and writes record.md beside
it.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch
from architectures import BASE, variants
from architectures import RESULTS as COMPARED
from common import ROOT
from trainings import ONE_THREAD, Row, Task, train_missing

from mnist12k.files import read_table, write_text
from mnist12k.outputs import read_results
from mnist12k.params import load_params
from mnist12k.paths import PARAMS
from mnist12k.report.markdown import table
from mnist12k.search.intervals import mean_with_interval

RESULTS, TABLE = (Path(__file__).with_suffix(suffix) for suffix in (".csv", ".md"))


def best_variant() -> str:
    """Return the variant that the hold-out set prefers."""
    results = read_table(COMPARED, Row.__annotations__)
    losses = results.pivot_table("loss", index=["device", "seed"], columns="variant").dropna()
    return str(losses.mean().drop("label smoothing 0.05").idxmin())  # which raises the loss itself


def tasks(epochs: int, seeds: Sequence[int]) -> Iterator[Task]:
    """Yield the trainings."""
    trainings = variants(load_params(ROOT / PARAMS))
    as_recipe = epochs == trainings[BASE].epochs
    names = [BASE]
    if as_recipe:
        names = [best_variant(), BASE] if torch.cuda.is_available() else [best_variant()]
    for seed in seeds:
        own = {"seed": seed, "validation_size": 0, "epochs": epochs}
        for name in dict.fromkeys(names):
            label = name if as_recipe else f"{name}, {epochs} epochs"
            yield label, trainings[name].model_copy(update=own)


def seeds_study() -> pd.DataFrame:
    """Return the trainings of reports/seeds that are those of BASE on a CPU."""
    base = variants(load_params(ROOT / PARAMS))[BASE]
    results = read_results()
    own = results[(results["network"] == base.network) & (results["recipe"] == base.recipe)]
    own = own.rename(columns={"test_accuracy": "accuracy"})
    return own[["seed", "accuracy", "seconds"]].assign(variant=BASE, device=ONE_THREAD)


def summary(results: pd.DataFrame) -> str:
    """Return the mean test accuracies in Markdown, with 95 % intervals, and the difference."""
    results = pd.concat([results, seeds_study()])
    accuracies = results.pivot_table("accuracy", index=["device", "seed"], columns="variant")
    rows = []
    for (variant, device), own in results.groupby(["variant", "device"], sort=False):
        mean, differences = interval(own["accuracy"].tolist()), ""
        if variant != BASE:
            both = accuracies.loc[device, [variant, BASE]].dropna()
            differences = interval((both[variant] - both[BASE]).tolist(), "+.3f")
        rows.append([str(variant), str(device), str(len(own)), mean, differences])
    header = [
        "variant",
        "device",
        "trainings",
        "mean test accuracy, %",
        "difference by seed, points",
    ]
    return table(header, rows)


def interval(values: list[float], form: str = ".3f") -> str:
    """Return a mean of fractions in percent, with its 95 % interval if it has one."""
    if len(values) < 2:
        return ""
    mean, low, high = (f"{100 * value:{form}}" for value in mean_with_interval(values))
    return f"{mean} ({low} to {high})"


def main() -> None:
    """Run the missing trainings, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("epochs", type=int, nargs="?", default=19)
    parser.add_argument("seeds", type=int, nargs="*")
    arguments = parser.parse_args()
    text = summary(train_missing(tasks(arguments.epochs, arguments.seeds), RESULTS))
    write_text(TABLE, f"# The best network and recipe on the test images\n\n{text}")
    print(text)


if __name__ == "__main__":
    main()
