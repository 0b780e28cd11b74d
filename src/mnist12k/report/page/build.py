"""Collect what the page shows from the files that the other stages have written."""

import torch

from mnist12k.backprop.settings import Backprop
from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import load_test_digits
from mnist12k.digits.settings import Fetch
from mnist12k.files import read_json
from mnist12k.outputs import (
    BACKPROP_METRICS,
    BackpropMetrics,
    read_evaluate_metrics,
    read_hill,
    read_history,
    read_losses,
    read_predictions,
    read_train_metrics,
)
from mnist12k.paths import BENCHMARKS, DATA, MODEL
from mnist12k.report.page.backprop import backprop_content, backprop_data
from mnist12k.report.page.network import digits_data, network_content, network_data
from mnist12k.report.page.provenance import provenance
from mnist12k.report.page.render import columns, render
from mnist12k.report.page.results import (
    benchmarks,
    calibration,
    confusion,
    optional,
    result,
    search,
    seeds,
)


def build(backprop: Backprop, train: Train, fetch: Fetch) -> str:
    """Return the page as HTML.

    The sections on seeds and search are left out if those studies have not been run, or with a
    warning on stderr if their files are damaged. Raises UserError if another file is missing or
    damaged.
    """
    trained, evaluated = read_train_metrics(), read_evaluate_metrics()
    history = columns(read_history(trained))
    predictions = read_predictions(evaluated)
    network = load_network(MODEL, torch.device("cpu"))
    searched = optional("search", search)

    content = {
        **backprop_content(backprop, read_json(BACKPROP_METRICS, BackpropMetrics)),
        **network_content(network),
        "result": result(evaluated),
        "train": train,
        "trained": trained,
        "evaluated": evaluated,
        "history": history,
        "confusion": confusion(predictions),
        "calibration": calibration(predictions),
        "seeds": optional("seeds study", seeds),
        "search": searched,
        "benchmarks": benchmarks(BENCHMARKS),
        "provenance": provenance(train, fetch, trained, evaluated),
    }
    data = {
        "backprop": backprop_data(backprop, read_losses(), read_hill()),
        "network": network_data(network),
        "digits": digits_data(network, load_test_digits(DATA), predictions),
        "history": history,
        "trials": searched and searched["trials"],
    }
    return render(content, data)
