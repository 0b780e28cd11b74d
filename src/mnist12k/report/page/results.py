"""The results on the page: evaluation, seeds, search and benchmarks."""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from scipy.stats import binomtest

from mnist12k.errors import UserError
from mnist12k.files import damaged, read_json
from mnist12k.outputs import (
    FINALISTS,
    RESULTS,
    SEEDS_METRICS,
    TRIALS,
    TUNE_METRICS,
    EvaluateMetrics,
    SeedsSummary,
    TuneMetrics,
    read_finalists,
    read_results,
    read_trials,
)
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


def result(evaluated: EvaluateMetrics) -> Content:
    """Return the test accuracies of the network and the write-up, and a scale for both."""
    low, high = evaluated.test_accuracy_low, evaluated.test_accuracy_high
    write_up = wilson(WRITE_UP_CORRECT, WRITE_UP_TOTAL)
    rows = [
        Accuracy("this network", evaluated.test_accuracy, low, high),
        Accuracy("the write-up", WRITE_UP_CORRECT / WRITE_UP_TOTAL, *write_up),
    ]
    return {"rows": rows, "scale": _scale(rows)}


def confusion(predictions: pd.DataFrame) -> list[list[dict[str, float]]]:
    """Return each cell's count, and its shade from 0 to 1, one row per label."""
    counts = confusion_matrix(predictions).to_numpy().tolist()
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
    table = pd.DataFrame(
        {
            "bin": pd.cut(predictions["probability"], edges, right=False, labels=names),
            "confidence": predictions["probability"],
            "correct": predictions["label"] == predictions["prediction"],
        }
    )
    bins = table.groupby("bin", observed=True).agg(
        images=("correct", "size"), correct=("correct", "sum"), confidence=("confidence", "mean")
    )
    gaps = (bins["confidence"] - bins["correct"] / bins["images"]).abs()
    return {
        "bins": [
            (Accuracy(name, correct / images, *wilson(correct, images), (confidence,)), images)
            for name, images, correct, confidence in bins.itertuples()
        ],
        "error": float((gaps * bins["images"]).sum() / len(predictions)),
    }


def seeds() -> Content | None:
    """Return each recipe's test accuracies and their mean, None if the study has not been run."""
    if not (SEEDS_METRICS.is_file() and RESULTS.is_file()):
        return None
    results = read_results()
    summaries = read_json(SEEDS_METRICS, dict[str, SeedsSummary])
    if not summaries:
        raise damaged(SEEDS_METRICS, "it has no recipe")
    rows = []
    for name, summary in summaries.items():
        accuracies = results.loc[results["recipe"] == name, "test_accuracy"].tolist()
        if len(accuracies) != summary.trainings:
            raise damaged(RESULTS, f"it should have {summary.trainings} trainings of {name}")
        interval = summary.test_accuracy_mean_low, summary.test_accuracy_mean_high
        rows.append(Accuracy(name, summary.test_accuracy_mean, *interval, accuracies))
    return {"rows": rows, "summaries": summaries, "scale": _scale(rows)}


def search() -> Content | None:
    """Return the search's trials, finalists and winner, None if it has not been finished."""
    if not all(path.is_file() for path in (TUNE_METRICS, TRIALS, FINALISTS, BEST_PARAMS)):
        return None
    metrics = read_json(TUNE_METRICS, TuneMetrics)
    finalists = (
        read_finalists()
        .groupby("trial", sort=False)
        .agg(
            seeds=("seed", "size"),
            loss=("validation_loss", "mean"),
            accuracy=("validation_accuracy", "mean"),
        )
        .sort_values("loss")
        .reset_index()
    )
    if not math.isclose(finalists["loss"].min(), metrics.winner_validation_loss_mean):
        raise damaged(FINALISTS, f"its lowest mean loss is not that in {TUNE_METRICS}")
    trials = read_trials(metrics)
    complete = trials[trials["state"] == "complete"].dropna(subset="validation_loss")
    try:
        best_params = BEST_PARAMS.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(BEST_PARAMS, str(error)) from error
    return {
        "metrics": metrics,
        "finalists": list(finalists.itertuples()),
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
        print(f"mnist12k: warning: the page omits the {name}: {error}", file=sys.stderr)
        return None


def benchmarks(folder: Path) -> list[Content]:
    """Return the figures of every JSON file, nested ones joined by dots, and its tables.

    Raises UserError if a file is not a JSON object.
    """
    content = []
    for path in sorted(folder.glob("*.json")):
        figures = read_json(path, dict[str, Any])
        tables = {name: _table(value) for name, value in figures.items() if _is_table(value)}
        single = {name: value for name, value in figures.items() if name not in tables}
        content.append({"name": path.stem, "figures": dict(_flat(single)), "tables": tables})
    return content


def wilson(correct: int, total: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of an accuracy."""
    interval = binomtest(correct, total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _table(records: list[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return column names and rows; what a record lacks is None."""
    flat = [dict(_flat(record)) for record in records]
    names = list(dict.fromkeys(name for record in flat for name in record))
    return {"columns": names, "rows": [[record.get(name) for name in names] for record in flat]}


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _scale(rows: list[Accuracy]) -> tuple[float, float]:
    """Return the ends of a scale around all intervals and dots, at whole 0.1 or 5 points."""
    low = min(min((row.low, *row.dots)) for row in rows)
    high = max(max((row.high, *row.dots)) for row in rows)
    step = 0.001 if high - low < 0.02 else 0.05
    return math.floor(low / step) * step, min(1.0, math.ceil(high / step) * step)
