"""Whether the order that a short search found holds for the default's 19 epochs.

    python benchmarks/transfer.py 1 2 3     # seeds; an hour and a quarter on two cores
    python benchmarks/transfer.py           # write the table again

Every finalist of reports/tune trains again by the recipe `best`, with the hyperparameters that the
search chose; `step_size`, in epochs, grows with the number of epochs. All losses are those of the
hold-out set. Adds to benchmarks/transfer.csv, and writes transfer.md beside it.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from common import ROOT
from scipy import stats
from trainings import Task, train_missing

from mnist12k.files import write_text
from mnist12k.outputs import TRIAL_COLUMNS, read_finalists, read_trials
from mnist12k.params import Params, load_params
from mnist12k.paths import PARAMS
from mnist12k.report.markdown import table
from mnist12k.search.intervals import mean_with_interval

RESULTS, TABLE = (Path(__file__).with_suffix(suffix) for suffix in (".csv", ".md"))
RECIPE = "best"


def points(params: Params) -> dict[str, dict[str, Any]]:
    """Return the hyperparameters of every finalist: a trial's, or the recipe's own."""
    trials = read_trials().convert_dtypes().set_index("trial")
    names = [name for name in trials.columns if name not in TRIAL_COLUMNS]
    start = params.recipes[params.tune.recipe].model_dump()
    found: dict[str, dict[str, Any]] = {}
    for finalist in read_finalists()["trial"].unique():
        if finalist == "start":
            found[finalist] = {name: start[name] for name in names if start[name] is not None}
        else:
            found[finalist] = trials.loc[int(finalist), names].dropna().to_dict()
    return found


def tasks(seeds: Sequence[int]) -> Iterator[Task]:
    """Yield the trainings: every finalist, and the recipe `best` itself, from every seed."""
    params = load_params(ROOT / PARAMS)
    training = params.training(params.train.network, RECIPE)
    longer = training.epochs / params.recipes[params.tune.recipe].epochs
    size = params.train.validation_size
    for seed in seeds:
        own = {"seed": seed, "validation_size": size}
        yield f"the recipe {RECIPE}", training.model_copy(update=own)
        for finalist, point in points(params).items():
            if "step_size" in point:
                point["step_size"] = round(point["step_size"] * longer)
            yield label(finalist), training.model_copy(update=own | point)


def label(finalist: str) -> str:
    """Return the name of a finalist in the table."""
    return "the search's recipe" if finalist == "start" else f"trial {finalist}"


def summary(results: pd.DataFrame) -> str:
    """Return the losses of the short and of the long trainings in Markdown, and their ranks.

    The differences to the search's recipe are those by seed.
    """
    race = read_finalists().query("round == 'race'").dropna()
    short = race.groupby("trial")["validation_loss"].mean()
    by_label = {label(str(name)): float(loss) for name, loss in short.items()}
    known = points(load_params(ROOT / PARAMS))
    schedules = {label(name): str(point.get("schedule", "")) for name, point in known.items()}
    losses = results.pivot_table("loss", index="seed", columns="variant")
    rows, pairs = [], []
    for variant, mean in losses.mean().sort_values().items():
        name, difference = str(variant), ""
        brief = by_label.get(name)
        if brief is not None:
            pairs.append((brief, mean))
        by_seed = (losses[variant] - losses[label("start")]).dropna().tolist()
        if name != label("start") and len(by_seed) > 1:
            difference = "{:+.4f} ({:+.4f} to {:+.4f})".format(*mean_with_interval(by_seed))
        short_loss = "" if brief is None else f"{brief:.4f}"
        rows.append([name, schedules.get(name, ""), short_loss, f"{mean:.4f}", difference])
    header = ["hyperparameters of", "schedule", "loss in the race", "loss after 19 epochs"]
    text = table([*header, "difference by seed"], rows)
    if len(pairs) > 2:
        found = stats.spearmanr(*zip(*pairs, strict=True))
        text += (
            f"\nSpearman's rank correlation of the two columns: {found.statistic:.2f} "
            f"({len(pairs)} finalists, p = {found.pvalue:.2f}).\n"
        )
    return text


def main() -> None:
    """Run the missing trainings, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", type=int, nargs="*")
    text = summary(train_missing(tasks(parser.parse_args().seeds), RESULTS))
    write_text(TABLE, f"# Does the order of a short search hold for 19 epochs?\n\n{text}")
    print(text)


if __name__ == "__main__":
    main()
