"""One page of all that the stages have found, to look at and to use."""

from pathlib import Path

import torch

from mnist12k.cnn.model_file import load_network
from mnist12k.digits.dataset import load_test_digits
from mnist12k.files import write_text
from mnist12k.params import Params
from mnist12k.report.page import render
from mnist12k.report.page_backprop import data_backprop, shown_backprop
from mnist12k.report.page_made import made
from mnist12k.report.page_network import data_digits, data_network, shown_network
from mnist12k.report.page_results import (
    answer,
    benchmarks,
    calibration,
    confusion,
    history,
    search,
    seeds,
    trials,
)
from mnist12k.report.tables import read_figures, read_table

DATA = Path("data/mnist")
MODEL = Path("models/cnn.pt")
REPORTS = Path("reports")
PAGE = REPORTS / "index.html"
BENCHMARKS = Path("benchmarks")


def run(params: Params) -> None:
    """Write reports/index.html: one file that needs neither a server nor a network."""
    studied = REPORTS / "backprop"
    predictions = read_table(REPORTS / "evaluate/predictions.csv")
    trained = read_figures(REPORTS / "train/metrics.json")
    evaluated = read_figures(REPORTS / "evaluate/metrics.json")
    epochs = history(read_table(REPORTS / "train/history.csv"))
    network = load_network(MODEL, torch.device("cpu"))

    shown = {
        **shown_backprop(params.backprop, read_figures(studied / "metrics.json")),
        **shown_network(network),
        "answer": answer(evaluated),
        "trained": trained,
        "evaluated": evaluated,
        "epochs": epochs,
        "confusion": confusion(predictions),
        "calibration": calibration(predictions),
        "seeds": seeds(REPORTS / "seeds"),
        "search": search(REPORTS / "tune"),
        "benchmarks": benchmarks(BENCHMARKS),
        "made": made(params, trained, evaluated),
        "train": params.train,
    }
    data = {
        "backprop": data_backprop(
            params.backprop, read_table(studied / "losses.csv"), read_table(studied / "hill.csv")
        ),
        "network": data_network(network),
        "digits": data_digits(network, load_test_digits(DATA), predictions),
        "history": epochs,
        "trials": trials(REPORTS / "tune"),
    }
    write_text(PAGE, render(shown, data))
    print(f"{PAGE}: {PAGE.stat().st_size / 1e6:.2f} MB, to be opened in a browser")
