"""Many trainings that differ only in their seed: the spread of a recipe's test accuracy.

Scores the test images after every choice has been made, to report and for nothing else.
"""

import contextlib
import math
import multiprocessing
import os
import statistics
from collections.abc import Generator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

import pandas as pd
import torch
from scipy import stats

from mnist12k.cnn.evaluate import evaluate
from mnist12k.cnn.fit import fit
from mnist12k.cnn.network import new_network
from mnist12k.cnn.settings import Recipe, Train
from mnist12k.digits.dataset import load_test_digits, load_training_digits, split
from mnist12k.errors import UserError
from mnist12k.files import read_json, write_json, write_table
from mnist12k.outputs import RESULTS, SEEDS_METRICS, SeedsSummary, read_results
from mnist12k.paths import DATA, SEEDS_REPORTS
from mnist12k.report.figures.seeds import draw_seeds
from mnist12k.signals import end_with_parent, starting_workers, stop_workers
from mnist12k.stages.settings import Seeds

RECIPES = SEEDS_REPORTS / "recipes.json"  # that the results were trained by
FIGURE = SEEDS_REPORTS / "test_accuracy.png"

Recipes = dict[str, dict[str, Any]]


class Result(NamedTuple):
    """One training: accuracies in [0, 1], None for validation without a hold-out set."""

    recipe: str
    seed: int
    epochs: int
    validation_accuracy: float | None
    test_accuracy: float
    seconds: float


def run(settings: Seeds, recipes: Mapping[str, Recipe], train: Train) -> None:
    """Train every recipe from every seed, one thread per training, on all cores.

    The network is that of `train`.

    Each training's result is written to results.csv, with summary and figure, as soon as it ends.
    A later run trains only what is missing; results of a recipe that has changed are dropped.
    """
    common = {
        "validation_size": settings.validation_size,
        "network": train.architecture.model_dump(mode="json", exclude_defaults=True),
    }
    current: Recipes = {
        name: recipes[name].model_dump(mode="json", exclude_defaults=True) | common
        for name in settings.recipes
    }
    results = earlier_results(current)
    done = set(zip(results["recipe"], results["seed"], strict=True))
    todo = [
        training_settings(name, seed, settings.validation_size, recipes[name], train)
        for name in settings.recipes
        for seed in range(1, settings.count + 1)
        if (name, seed) not in done
    ]
    images = len(load_training_digits(DATA).labels) - settings.validation_size

    def in_order(column: pd.Series) -> pd.Series:
        return column.map(settings.recipes.index) if column.name == "recipe" else column

    print(f"{len(done)} trainings done, {len(todo)} to go, on {images:,} images each")

    write_json(RECIPES, current)
    summarise(results, images)
    with contextlib.closing(train_all(todo)) as trained:
        for result in trained:
            results = pd.concat([results, pd.DataFrame([result])])
            results = results.sort_values(["recipe", "seed"], key=in_order)
            write_table(RESULTS, results)
            summarise(results, images)
            print(
                f"{result.recipe} from seed {result.seed}: "
                f"test accuracy {result.test_accuracy:.2%}, {result.seconds:.0f} s",
                flush=True,
            )


def earlier_results(current: Recipes) -> pd.DataFrame:
    """Return the results of earlier runs whose recipes are unchanged."""
    if not (RESULTS.is_file() and RECIPES.is_file()):
        return pd.DataFrame(columns=list(Result._fields))
    former = read_json(RECIPES, Recipes)
    unchanged = [name for name, recipe in current.items() if former.get(name) == recipe]
    results = read_results()
    return results[results["recipe"].isin(unchanged)]


def training_settings(
    name: str, seed: int, validation_size: int, recipe: Recipe, train: Train
) -> Train:
    """Return a training of the network of `train` by a recipe alone, on the CPU."""
    own = {"recipe": name, "seed": seed, "device": "cpu", "validation_size": validation_size}
    return Train(**train.model_dump() | recipe.model_dump() | own)


def train_all(todo: list[Train]) -> Generator[Result, None, None]:
    """Train on all cores; yield each result as soon as it is there."""
    # New processes, not forks: a forked process with threads can hang.
    spawn = multiprocessing.get_context("spawn")
    with starting_workers():
        workers = ProcessPoolExecutor(os.cpu_count(), spawn, end_with_parent)
        futures = [workers.submit(train_once, settings) for settings in todo]
    try:
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, perhaps for lack of memory; "
            "`mnist12k seeds` continues with what is missing"
        ) from error
    finally:
        stop_workers()  # at the end they are idle
        workers.shutdown()


def train_once(settings: Train) -> Result:
    """Train on one thread, and evaluate on the test images."""
    torch.set_num_threads(1)
    network = new_network(settings, torch.device(settings.device))
    history = fit(network, *split(load_training_digits(DATA), settings.validation_size), settings)
    return Result(
        settings.recipe,
        settings.seed,
        settings.epochs,
        history[-1].validation_accuracy,
        round(evaluate(network, load_test_digits(DATA)).accuracy, 6),
        round(sum(epoch.seconds for epoch in history), 3),
    )


def summarise(results: pd.DataFrame, images: int) -> None:
    """Write the metrics and the figure of every recipe with at least two trainings."""
    summaries = {
        str(name): summary(group, images)
        for name, group in results.groupby("recipe", sort=False)
        if len(group) > 1
    }
    if summaries:
        write_json(SEEDS_METRICS, {name: each.model_dump() for name, each in summaries.items()})
        draw_seeds(results[results["recipe"].isin(summaries)], FIGURE)
    else:  # the files are those of recipes that have changed
        SEEDS_METRICS.unlink(missing_ok=True)
        FIGURE.unlink(missing_ok=True)


def summary(results: pd.DataFrame, images: int) -> SeedsSummary:
    """Return one recipe's mean test accuracy with its 95 % interval (Student's t)."""
    # pandas' own mean and deviation round their last digits.
    accuracies = results["test_accuracy"].tolist()
    mean, deviation = statistics.mean(accuracies), statistics.stdev(accuracies)
    # Not t.interval, which is NaN for equal accuracies.
    half = stats.t.ppf(0.975, len(accuracies) - 1) * deviation / math.sqrt(len(accuracies))
    return SeedsSummary(
        trainings=len(accuracies),
        epochs=int(results["epochs"].iloc[0]),
        training_images=images,
        test_accuracy_mean=mean,
        test_accuracy_sd=deviation,
        test_accuracy_mean_low=float(mean - half),
        test_accuracy_mean_high=float(mean + half),
        test_accuracy_lowest=min(accuracies),
        test_accuracy_highest=max(accuracies),
        seconds_mean=statistics.mean(results["seconds"].tolist()),
    )
