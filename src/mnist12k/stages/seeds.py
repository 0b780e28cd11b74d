"""Many trainings that differ only in their seed: the spread of the test accuracy.

Scores the test images after every choice has been made, to report and for nothing else.
"""

import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd
import torch

from mnist12k.cnn.device import pick_device
from mnist12k.cnn.evaluate import evaluate
from mnist12k.cnn.fit import fit, require_finite
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.network import Network, for_images, new_network
from mnist12k.cnn.settings import Recipe, Train
from mnist12k.digits.dataset import load_test_digits, load_training_digits, split
from mnist12k.errors import UserError
from mnist12k.files import read_json, write_json, write_table
from mnist12k.outputs import (
    RESULTS,
    SEEDS_METRICS,
    Difference,
    SeedsSummaries,
    SeedsSummary,
    read_results,
)
from mnist12k.paths import DATA, SEEDS_REPORTS
from mnist12k.report.figures.model_summary import trace
from mnist12k.report.figures.seeds import draw_seeds
from mnist12k.search.coordinator import coordinating
from mnist12k.search.fused import fit_fused
from mnist12k.search.given import (
    given_result,
    given_results,
    given_study_name,
    open_given,
    queue_given,
    work_given,
)
from mnist12k.search.intervals import mean_with_interval
from mnist12k.search.queue import requeue_dead
from mnist12k.search.running import help_study, run_workers
from mnist12k.search.settings import SearchSettings
from mnist12k.signals import print_line
from mnist12k.stages.settings import Seeds

IDENTITIES = SEEDS_REPORTS / "recipes.json"  # what the results were trained by
FIGURE = SEEDS_REPORTS / "test_accuracy.png"
SEEDS = "seeds"  # the kind of the study, on a CPU, and the command

Identities = dict[str, dict[str, dict[str, Any]]]  # by network, then by recipe


class Result(NamedTuple):
    """One training: accuracies in [0, 1], None for validation without a hold-out set.

    `seconds` are those of its one thread on the processor, without what it waited; on a GPU, its
    equal part of the time that the trainings of one program took.
    """

    network: str
    recipe: str
    seed: int
    epochs: int
    validation_accuracy: float | None
    test_accuracy: float
    seconds: float


def run(settings: Seeds, search: SearchSettings, trainings: Sequence[Train]) -> None:
    """Train every network by every recipe from every seed: on CPUs one thread each, on all cores.

    `trainings` are those of `settings.pairs()`; `search` says where the queue and the workers are.
    Each result is written to results.csv, with summary and figure, as soon as it is there. A later
    run trains only what is missing; results of a network or a recipe that has changed are dropped.
    """
    device = pick_device(settings.device, "seeds.device").type
    trainings = [
        each.model_copy(update={"device": device, "validation_size": settings.validation_size})
        for each in trainings
    ]
    results = earlier_results(trainings)
    done = set(zip(results["network"], results["recipe"], results["seed"], strict=True))
    todo = [
        each.model_copy(update={"seed": seed})
        for each in trainings
        for seed in range(1, settings.count + 1)
        if (each.network, each.recipe, seed) not in done
    ]
    images = len(load_training_digits(DATA, trainings[0].architecture).labels)
    images -= settings.validation_size
    print(f"{len(done)} trainings done, {len(todo)} to go, on {images:,} images each")

    write_json(IDENTITIES, identities(trainings))
    summarise(results, trainings, images)
    written: list[Result] = []

    def on_change() -> None:
        nonlocal results
        for values in given_results(study, todo):
            result = Result(*values)
            if result not in written:
                written.append(result)
                results = in_order(pd.concat([results, pd.DataFrame([result])]), trainings)
                write_table(RESULTS, results)
                summarise(results, trainings, images)
                print_line(result_line(result))

    study = open_given(search, study_kind(device))
    with coordinating(study, search.tune.storage, SEEDS):
        requeue_dead(study, {})
        queue_given(study, todo)
        run_workers(search, study, on_change, work_seeds)
    if len(written) < len(todo):
        raise UserError(
            f"{len(todo) - len(written)} trainings have lost their workers again and again; "
            "`mnist12k seeds` tries once more"
        )


def result_line(result: Result) -> str:
    """Return a training's result in a line."""
    return (
        f"{result.network} by {result.recipe} from seed {result.seed}: "
        f"test accuracy {result.test_accuracy:.2%}, {result.seconds:.0f} s"
    )


def identities(trainings: Sequence[Train]) -> Identities:
    """Return what decides the results of each network and recipe, but for data and code.

    The device is part of it unless it is the CPU.
    """
    found: Identities = {}
    for each in trainings:
        names = {*Recipe.model_fields, "validation_size"}
        own = each.model_dump(mode="json", include=names, exclude_defaults=True)
        if each.device != "cpu":
            own["device"] = each.device
        architecture = each.architecture.model_dump(mode="json", exclude_defaults=True)
        found.setdefault(each.network, {})[each.recipe] = own | {"network": architecture}
    return found


def earlier_results(trainings: Sequence[Train]) -> pd.DataFrame:
    """Return the results of earlier runs whose networks and recipes are unchanged."""
    if not (RESULTS.is_file() and IDENTITIES.is_file()):
        return pd.DataFrame(columns=list(Result._fields))
    former, current = read_json(IDENTITIES, Identities), identities(trainings)
    unchanged = [
        (each.network, each.recipe)
        for each in trainings
        if former.get(each.network, {}).get(each.recipe) == current[each.network][each.recipe]
    ]
    results = read_results()
    pairs = pd.MultiIndex.from_frame(results[["network", "recipe"]])
    return results[pairs.isin(unchanged)]


def in_order(results: pd.DataFrame, trainings: Sequence[Train]) -> pd.DataFrame:
    """Return the results in the order of the trainings, then by seed."""
    order = {(each.network, each.recipe): number for number, each in enumerate(trainings)}
    pairs = zip(results["network"], results["recipe"], strict=True)
    place = pd.Series([order[pair] for pair in pairs], results.index)
    return results.assign(place=place).sort_values(["place", "seed"]).drop(columns="place")


def study_kind(device: str) -> str:
    """Return the kind of the study for a type of device: workers need the same one."""
    return SEEDS if device == "cpu" else f"{SEEDS}-{device}"


def help_seeds(search: SearchSettings) -> None:
    """Train for `mnist12k seeds` on another machine, until it ends."""
    device = pick_device(search.train.device, "seeds.device").type
    name = given_study_name(study_kind(device))
    help_study(
        search, name, lambda trial: result_line(Result(*given_result(trial))), work_seeds, SEEDS
    )


def work_seeds(settings: SearchSettings, name: str) -> None:
    """Run the queued trainings of the study of this name."""
    work_given(settings, name, train_all)


def train_all(trainings: Sequence[Train]) -> list[tuple[float, Result]]:
    """Train those that differ only in their seeds as one, and evaluate on the test images.

    Returns each one's error rate, which Optuna's tools show, and its result.
    """
    results: list[Result] = []
    for _, group in itertools.groupby(trainings, lambda each: each.model_copy(update={"seed": 0})):
        results += train_seeds([*group])
    return [(1 - result.test_accuracy, result) for result in results]


def train_seeds(trainings: Sequence[Train]) -> Iterator[Result]:
    """Train one network by one recipe from several seeds; yield the results."""
    first = trainings[0]
    device = pick_device(first.device, "seeds.device")
    digits = load_training_digits(DATA, first.architecture)
    trainings = [for_images(each, digits.images) for each in trainings]
    networks = [new_network(each, device) for each in trainings]
    parts = split(digits, first.validation_size)
    # On a CPU, what else runs on the machine does not count.
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    started = clock()
    if len(trainings) == 1:
        histories = [fit(networks[0], *parts, trainings[0])]
    else:
        histories = fit_fused(networks, *parts, trainings, stop_if_diverged)
    seconds = (clock() - started) / len(trainings)
    test_digits = load_test_digits(DATA, first.architecture).to(device)
    for each, network, history in zip(trainings, networks, histories, strict=True):
        yield Result(
            each.network,
            each.recipe,
            each.seed,
            each.epochs,
            history[-1].validation_accuracy,
            round(evaluate(network, test_digits).accuracy, 6),
            round(seconds, 3),
        )


def stop_if_diverged(_model: int, epoch: Epoch) -> None:
    """Raise UserError at the end of an epoch whose loss is not finite, as `fit` does."""
    require_finite(torch.tensor(epoch.train_loss), epoch.epoch, epoch.learning_rate)


def summarise(results: pd.DataFrame, trainings: Sequence[Train], images: int) -> None:
    """Write the metrics and the figure of all that has at least two trainings."""
    summaries: SeedsSummaries = {}
    drawn = []
    first = trainings[0].network
    for each in trainings:
        own = of_pair(results, each.network, each.recipe)
        if len(own) > 1:
            base = of_pair(results, first, each.recipe) if each.network != first else None
            found = summary(own, base, each, images)
            summaries.setdefault(each.network, {})[each.recipe] = found
            drawn.append(own)
    if summaries:
        write_json(
            SEEDS_METRICS,
            {
                network: {recipe: each.model_dump() for recipe, each in by_recipe.items()}
                for network, by_recipe in summaries.items()
            },
        )
        draw_seeds(pd.concat(drawn), FIGURE)
    else:  # the files are those of recipes that have changed
        SEEDS_METRICS.unlink(missing_ok=True)
        FIGURE.unlink(missing_ok=True)


def of_pair(results: pd.DataFrame, network: str, recipe: str) -> pd.DataFrame:
    """Return the rows of one network and recipe."""
    return results[(results["network"] == network) & (results["recipe"] == recipe)]


def summary(
    results: pd.DataFrame, base: pd.DataFrame | None, training: Train, images: int
) -> SeedsSummary:
    """Return the mean test accuracy of one network and recipe, and its difference to `base`.

    `base` are the results of the network to compare with, by the same recipe.
    """
    # pandas' own mean and deviation round their last digits.
    accuracies = results["test_accuracy"].tolist()
    mean, low, high = mean_with_interval(accuracies)
    return SeedsSummary(
        trainings=len(accuracies),
        epochs=int(results["epochs"].iloc[0]),
        training_images=images,
        parameters=training.architecture.parameters(),
        multiply_adds=sum(row.multiply_adds for row in trace(Network(training.architecture))),
        test_accuracy_mean=mean,
        test_accuracy_sd=statistics.stdev(accuracies),
        test_accuracy_mean_low=low,
        test_accuracy_mean_high=high,
        test_accuracy_lowest=min(accuracies),
        test_accuracy_highest=max(accuracies),
        seconds_mean=statistics.mean(results["seconds"].tolist()),
        difference=None if base is None else difference(results, base),
    )


def difference(results: pd.DataFrame, base: pd.DataFrame) -> Difference | None:
    """Return the mean difference of the test accuracies from the same seeds; None below two."""
    paired = results.merge(base, on="seed", suffixes=("", "_base"))
    differences = (paired["test_accuracy"] - paired["test_accuracy_base"]).tolist()
    if len(differences) < 2:
        return None
    mean, low, high = mean_with_interval(differences)
    return Difference(seeds=len(differences), mean=mean, low=low, high=high)
