"""Collect what the page shows from the files that the other stages have written."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

from mnist12k import outputs
from mnist12k.backprop.settings import Backprop
from mnist12k.cnn.architecture import Architecture
from mnist12k.cnn.model_file import load_network
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import load_test_digits, load_training_digits, split
from mnist12k.digits.settings import Fetch
from mnist12k.files import read_json
from mnist12k.fingerprint import git_state
from mnist12k.paths import BENCHMARKS, DATA, MODEL
from mnist12k.report.page import results
from mnist12k.report.page.backprop import backprop_content, backprop_data
from mnist12k.report.page.epochs import epochs_data
from mnist12k.report.page.lesson import lesson_data
from mnist12k.report.page.network import (
    digits_data,
    network_content,
    network_data,
    networks_content,
)
from mnist12k.report.page.render import columns, render

PACKAGES = ("mnist12k", "torch", "torchvision", "numpy", "dvc", "mlflow", "optuna")


def build(
    backprop: Backprop, train: Train, fetch: Fetch, networks: Mapping[str, Architecture]
) -> str:
    """Return the page as HTML.

    The sections on seeds and search are left out if those studies have not been run, or with a
    warning on stderr if their files are damaged. Raises UserError if another file is missing or
    damaged.
    """
    trained, evaluated = outputs.read_train_result(), outputs.read_evaluate_result()
    history = columns(outputs.read_history(trained))
    network = load_network(MODEL, torch.device("cpu"))
    architecture = network.architecture
    classes = architecture.classes
    training, holdout = split(load_training_digits(DATA, architecture), train.validation_size)
    lesson = lesson_data(training) if architecture.reads_digits else None
    epochs = results.optional("epochs", lambda: epochs_data(network, holdout))
    predictions = outputs.read_predictions(evaluated, len(classes))
    metrics = read_json(outputs.BACKPROP_METRICS, outputs.BackpropMetrics)
    search = results.optional("search", results.search)
    hill = outputs.read_hill()
    content = {
        **backprop_content(backprop, metrics, hill),
        **network_content(network),
        "networks": networks_content(networks),
        "result": results.result(evaluated, fetch.name),
        "data_set": fetch.name,
        "train": train,
        "trained": trained,
        "evaluated": evaluated,
        "history": history,
        "lesson": lesson,
        "epochs": epochs,
        "confusion": results.confusion(predictions, classes),
        "calibration": results.calibration(predictions),
        "seeds": results.optional("seeds study", results.seeds),
        "search": search,
        "benchmarks": results.benchmarks(BENCHMARKS),
        "provenance": _provenance(train, fetch, trained, evaluated),
    }
    data = {
        "backprop": backprop_data(backprop, metrics, outputs.read_losses(), hill),
        "network": network_data(network),
        "digits": digits_data(network, load_test_digits(DATA, architecture), predictions),
        "history": history,
        "lesson": lesson,
        "epochs": epochs,
        "trials": search and search["trials"],
    }
    return render(content, data, pad=architecture.reads_digits)


def _provenance(
    train: Train, fetch: Fetch, trained: outputs.TrainResult, evaluated: outputs.EvaluateResult
) -> dict[str, dict[str, Any]]:
    """Return how the results were obtained: names and values by heading."""
    state = git_state()
    return {
        "Code and model": {
            "git commit": state[0] if state else "not in a git repository",
            "training fingerprint": trained.fingerprint,
            "MD5 of models/cnn.pt": evaluated.model_md5,
            "trained on": trained.device,
            "training time in seconds": trained.seconds,
        },
        "Training settings": train.model_dump(exclude_none=True, exclude={"architecture"}),
        "SHA-256 of the data": fetch.sha256 or {},
        "Versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
    }
