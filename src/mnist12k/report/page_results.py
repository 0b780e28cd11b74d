"""What the page shows of training and evaluation, of seeds, search and benchmarks."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from mnist12k.cnn.intervals import wilson_interval
from mnist12k.report.tables import Table, column, read_figures, read_table

# The course write-up that this started from: the best of 19 epochs, chosen on the test images.
SEED_CORRECT, SEED_TOTAL = 9946, 10_000
EDGES = (0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1)  # between how sure the network says it is


def answer(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return both accuracies with their intervals, and a scale on which both show."""
    low, high = wilson_interval(SEED_CORRECT, SEED_TOTAL)
    rows = [
        {
            "name": "this network",
            "value": figures["test_accuracy"],
            "low": figures["test_accuracy_low"],
            "high": figures["test_accuracy_high"],
        },
        {"name": "the write-up", "value": SEED_CORRECT / SEED_TOTAL, "low": low, "high": high},
    ]
    return {"rows": rows, "scale": _scale(rows)}


def history(rows: Table) -> dict[str, list[float | None]]:
    """Return the training's columns."""
    return {name: column(rows, name) for name in rows[0]}


def confusion(predictions: Table) -> list[list[dict[str, float]]]:
    """Return a row a true digit, a cell a predicted one: its count, and its shade from 0 to 1."""
    counts = Counter((int(row["label"]), int(row["prediction"])) for row in predictions)
    most = math.log1p(max(counts.values()))
    return [
        [
            {
                "count": counts[label, said],
                "shade": round(math.log1p(counts[label, said]) / most, 3),
            }
            for said in range(10)
        ]
        for label in range(10)
    ]


def calibration(predictions: Table) -> dict[str, Any]:
    """Return how often the network was right at each degree of sureness, and how far that is off.

    The expected calibration error weighs each bin's gap by its images (Naeini et al., 2015).
    """
    bins: list[dict[str, Any]] = []
    for low, high in pairwise(EDGES):
        top = math.nextafter(1, 2) if high == 1 else high  # the last bin holds 1 itself
        inside = [row for row in predictions if low <= float(row["probability"]) < top]
        if inside:
            right = sum(row["label"] == row["prediction"] for row in inside)
            least, most = wilson_interval(right, len(inside))
            bins.append(
                {
                    "name": f"{low * 100:g} to {high * 100:g}\N{NO-BREAK SPACE}%",
                    "images": len(inside),
                    "said": sum(float(row["probability"]) for row in inside) / len(inside),
                    "value": right / len(inside),
                    "low": least,
                    "high": most,
                }
            )
    error = sum(b["images"] * abs(b["said"] - b["value"]) for b in bins) / len(predictions)
    return {"bins": bins, "error": error}


def seeds(folder: Path) -> dict[str, Any] | None:
    """Return each recipe's trainings and their mean, where the study has been run."""
    if not (folder / "results.csv").is_file() or not (folder / "metrics.json").is_file():
        return None
    accuracies = [
        (row["recipe"], float(row["test_accuracy"])) for row in read_table(folder / "results.csv")
    ]
    rows = [
        {
            "name": name,
            "value": found["test_accuracy_mean"],
            "low": found["test_accuracy_mean_low"],
            "high": found["test_accuracy_mean_high"],
            "dots": [accuracy for recipe, accuracy in accuracies if recipe == name],
            **found,
        }
        for name, found in read_figures(folder / "metrics.json").items()
    ]
    ends = [{"low": min(row["dots"]), "high": max(row["dots"])} for row in rows]
    return {"rows": rows, "scale": _scale([*rows, *ends])}


def search(folder: Path) -> dict[str, Any] | None:
    """Return the search's figures, its finalists and its winner, where there has been a search."""
    files = ("metrics.json", "finalists.csv", "trials.csv", "best_params.yaml")
    if not all((folder / name).is_file() for name in files):
        return None
    trials: dict[str, list[tuple[float, float]]] = {}
    for row in read_table(folder / "finalists.csv"):
        loss, accuracy = float(row["validation_loss"]), float(row["validation_accuracy"])
        trials.setdefault(row["trial"], []).append((loss, accuracy))
    finalists = [
        {
            "name": "the recipe itself" if name == "start" else f"trial {name}",
            "seeds": len(found),
            "loss": sum(loss for loss, _ in found) / len(found),
            "accuracy": sum(accuracy for _, accuracy in found) / len(found),
        }
        for name, found in trials.items()
    ]
    return {
        "figures": read_figures(folder / "metrics.json"),
        "finalists": sorted(finalists, key=lambda finalist: finalist["loss"]),
        "best": (folder / "best_params.yaml").read_text(encoding="utf-8"),
    }


def trials(folder: Path) -> dict[str, list[Any]] | None:
    """Return the loss of each trial that was trained to its end, and the lowest so far."""
    if search(folder) is None:
        return None
    done = [row for row in read_table(folder / "trials.csv") if row["state"] == "complete"]
    done = [row for row in done if row["validation_loss"]]
    losses = [float(row["validation_loss"]) for row in done]
    numbers = [int(row["trial"]) for row in done]
    return {"trial": numbers, "loss": losses, "lowest": list(accumulate(losses, min))}


def benchmarks(folder: Path) -> list[dict[str, Any]]:
    """Return every measurement's figures by name, nested ones joined by dots, and its tables."""
    found = []
    for path in sorted(folder.glob("*.json")):
        figures = read_figures(path)
        tables = {name: _table(rows) for name, rows in figures.items() if _is_table(rows)}
        single = {name: value for name, value in figures.items() if name not in tables}
        found.append({"name": path.stem, "figures": dict(_flat(single)), "tables": tables})
    return found


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _table(records: list[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the names of columns, and rows in which None is what a record lacks."""
    flat = [dict(_flat(record)) for record in records]
    columns = list(dict.fromkeys(name for record in flat for name in record))
    return {"columns": columns, "rows": [[r.get(name) for name in columns] for r in flat]}


def _flat(content: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _scale(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Return whole tenths of a percent (or hundredths of 1, if need be) around the intervals."""
    low, high = min(row["low"] for row in rows), max(row["high"] for row in rows)
    step = 0.001 if high - low < 0.02 else 0.05
    return math.floor(low / step) * step, min(1.0, math.ceil(high / step) * step)
