"""The results on the page: evaluation, seeds, search and benchmarks."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from scipy.stats import binomtest

from mnist12k import outputs
from mnist12k.errors import UserError, warn
from mnist12k.files import damaged, read_json
from mnist12k.outputs import FINALISTS, RESULTS, SEEDS_METRICS, TRIALS, TUNE_METRICS
from mnist12k.paths import BEST_PARAMS
from mnist12k.report.figures.confusion import confusion_matrix

Content = dict[str, Any]

# Of the course write-up that the project started from: the best of 19 epochs on the test images.
WRITE_UP_CORRECT, WRITE_UP_TOTAL = 9946, 10_000
CONFIDENCE_EDGES = (0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1)


class Accuracy(NamedTuple):
    """An accuracy with its 95 % interval; `dots` are other values to mark beside it."""

    name: str
    value: float
    low: float
    high: float
    dots: Sequence[float] = ()


def result(evaluated: outputs.EvaluateResult, data_set: str) -> Content:
    """Return the test accuracies of the network and, for MNIST, the write-up, and their scale."""
    low, high = evaluated.test_accuracy_low, evaluated.test_accuracy_high
    rows = [Accuracy("this network", evaluated.test_accuracy, low, high)]
    if data_set == "MNIST":
        rows.append(_accuracy("the write-up", WRITE_UP_CORRECT, WRITE_UP_TOTAL))
    return {"rows": rows, "scale": _scale(rows)}


def confusion(predictions: pd.DataFrame, classes: Sequence[str]) -> list[list[dict[str, float]]]:
    """Return each cell's count, and its shade from 0 to 1, one row per label."""
    counts = confusion_matrix(predictions, classes).to_numpy().tolist()
    highest = math.log1p(max(map(max, counts)))
    return [
        [{"count": count, "shade": round(math.log1p(count) / highest, 3)} for count in row]
        for row in counts
    ]


def calibration(predictions: pd.DataFrame) -> Content:
    """Return accuracy and mean confidence per bin of confidence, and the calibration error.

    The expected calibration error weights each bin's gap by its images (Naeini et al., 2015).
    """
    # Bins include their lower edge; the last one includes 1 as well.
    edges = [*CONFIDENCE_EDGES[:-1], math.nextafter(1, 2)]
    names = [
        f"{low * 100:g} to {high * 100:g}\N{NO-BREAK SPACE}%"
        for low, high in pairwise(CONFIDENCE_EDGES)
    ]
    table = predictions.assign(correct=predictions["label"] == predictions["prediction"])
    bin_of = pd.cut(table["probability"], edges, right=False, labels=names)
    bins = table.groupby(bin_of, observed=True).agg(
        images=("correct", "size"), correct=("correct", "sum"), confidence=("probability", "mean")
    )
    gaps = (bins["confidence"] - bins["correct"] / bins["images"]).abs()
    return {
        "bins": [
            (_accuracy(name, correct, images, (confidence,)), images)
            for name, images, correct, confidence in bins.itertuples()
        ],
        "error": float((gaps * bins["images"]).sum() / len(predictions)),
    }


def seeds() -> Content | None:
    """Return the test accuracies of networks and recipes; None if the study has not been run."""
    if not (SEEDS_METRICS.is_file() and RESULTS.is_file()):
        return None
    summaries = {
        (network, recipe): summary
        for network, by_recipe in read_json(SEEDS_METRICS, outputs.SeedsSummaries).items()
        for recipe, summary in by_recipe.items()
    }
    groups = outputs.read_results().groupby(["network", "recipe"])["test_accuracy"]
    trainings = {pair: summary.trainings for pair, summary in summaries.items()}
    counted = {pair: count for pair, count in groups.size().to_dict().items() if count > 1}
    if not trainings or counted != trainings:
        raise damaged(RESULTS, f"its trainings are not those counted in {SEEDS_METRICS}")
    rows = []
    for pair, summary in summaries.items():
        interval = summary.test_accuracy_mean_low, summary.test_accuracy_mean_high
        dots = groups.get_group(pair).tolist()
        rows.append(Accuracy(" by ".join(pair), summary.test_accuracy_mean, *interval, dots))
    return {
        "rows": list(zip(rows, summaries.values(), strict=True)),
        "first": next(iter(summaries))[0],
        "differs": any(summary.difference for summary in summaries.values()),
        "scale": _scale(rows),
    }


def search() -> Content | None:
    """Return the search's trials, finalists and winner, None if it has not been finished."""
    if not all(path.is_file() for path in (TUNE_METRICS, TRIALS, FINALISTS, BEST_PARAMS)):
        return None
    metrics = read_json(TUNE_METRICS, outputs.TuneMetrics)
    finalists = outputs.read_finalists()
    judged = finalists[finalists["round"] == "verdict"].groupby("trial")["validation_loss"]
    challenger = judged.mean().get(str(metrics.challenger_trial), math.nan)
    said = metrics.challenger_validation_loss_mean
    if said is not None and not math.isclose(challenger, said):
        raise damaged(FINALISTS, f"its challenger's mean loss is not that in {TUNE_METRICS}")
    racing = finalists[finalists["round"] == "race"].groupby("trial", as_index=False)
    means = racing.agg(
        seeds=("seed", "size"),
        loss=("validation_loss", "mean"),
        accuracy=("validation_accuracy", "mean"),
    )
    trials = outputs.read_trials(metrics)
    complete = trials[trials["state"] == "complete"].dropna(subset="validation_loss")
    try:
        best_params = BEST_PARAMS.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(BEST_PARAMS, str(error)) from error
    return {
        "metrics": metrics,
        "finalists": list(means.sort_values("loss").itertuples()),
        "best_params": best_params,
        "trials": {
            "trial": complete["trial"].tolist(),
            "loss": complete["validation_loss"].tolist(),
            "lowest": complete["validation_loss"].cummin().tolist(),
        },
    }


def optional(name: str, read: Callable[[], Content | None]) -> Content | None:
    """Return what `read` returns; if its files are damaged, print a warning and return None."""
    try:
        return read()
    except UserError as error:
        warn(f"the page omits the {name}: {error}")
        return None


def benchmarks(folder: Path) -> list[Content]:
    """Return the figures of every JSON file, nested ones joined by dots, and its tables.

    Raises UserError if a file is not a JSON object.
    """
    content = []
    for path in sorted(folder.glob("*.json")):
        figures: Content = {}
        tables: Content = {}
        for name, value in read_json(path, dict[str, Any]).items():
            if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
                records = [_flat(row) for row in value]
                columns = list(dict.fromkeys(chain(*records)))
                rows = [[record.get(column) for column in columns] for record in records]
                tables[name] = {"columns": columns, "rows": rows}
            else:
                figures |= _flat({name: value})
        content.append({"name": path.stem, "figures": figures, "tables": tables})
    return content


def _flat(content: Mapping[str, Any], prefix: str = "") -> Content:
    flat: Content = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _accuracy(name: str, correct: int, total: int, dots: Sequence[float] = ()) -> Accuracy:
    """Return an accuracy with Wilson's interval."""
    interval = binomtest(correct, total).proportion_ci(method="wilson")
    return Accuracy(name, correct / total, float(interval.low), float(interval.high), dots)


def _scale(rows: list[Accuracy]) -> tuple[float, float]:
    """Return the ends of a scale around all intervals and dots, at whole 0.1 or 5 points."""
    low = min(min((row.low, *row.dots)) for row in rows)
    high = max(max((row.high, *row.dots)) for row in rows)
    step = 0.001 if high - low < 0.02 else 0.05
    return math.floor(low / step) * step, min(1.0, math.ceil(high / step) * step)
