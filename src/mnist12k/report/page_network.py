"""What the page shows and computes of the CNN: its layers, its weights, the digits it read."""

import base64
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mnist12k.cnn.evaluate import predict
from mnist12k.cnn.network import LAYERS, MEAN, STD, Network
from mnist12k.cnn.summary import Row, trace
from mnist12k.digits.dataset import Digits
from mnist12k.report.tables import Table

SHOWN = 12  # images of one cell of the confusion matrix, and of the hardest ones


def shown_network(network: Network) -> dict[str, Any]:
    """Return the layers as the diagram and the table show them."""
    rows = trace(network)
    return {
        "layers": list(_layers(rows)),
        "parameters": sum(row.parameters for row in rows),
        "multiply_adds": sum(row.multiply_adds for row in rows),
    }


def data_network(network: Network) -> dict[str, Any]:
    """Return what the page's forward pass needs, the weights in the state_dict's order."""
    numbers = [value for value in network.state_dict().values() if value.is_floating_point()]
    flat = np.concatenate([value.cpu().contiguous().numpy().ravel() for value in numbers])
    return {
        "mean": MEAN,
        "std": STD,
        "epsilon": network.get_submodule("blocks.0.norm").eps,
        "layers": [layer._asdict() for layer in LAYERS],
        "weights": base64.b64encode(flat.astype("<f4").tobytes()).decode(),
    }


def data_digits(network: Network, digits: Digits, predictions: Table) -> dict[str, Any]:
    """Return images to look at, each with what the network thought, and the cells they are in.

    Of each cell of the confusion matrix those whose right answer the network held least likely.
    """
    probabilities = F.softmax(predict(network, digits.images, 1000), dim=1)
    truth = probabilities.gather(1, digits.labels.unsqueeze(1)).squeeze(1)
    cells: dict[tuple[int, int], list[int]] = defaultdict(list)
    predicted = [int(row["prediction"]) for row in predictions]
    for index in truth.argsort(stable=True).tolist():
        cell = cells[int(digits.labels[index]), predicted[index]]
        if len(cell) < SHOWN:
            cell.append(index)
    chosen = sorted(index for cell in cells.values() for index in cell)
    place = {index: number for number, index in enumerate(chosen)}
    return {
        "pixels": _pixels(digits.images[chosen]),
        "images": [
            {
                "index": index,
                "label": int(digits.labels[index]),
                "prediction": predicted[index],
                "probabilities": [round(p, 5) for p in probabilities[index].tolist()],
            }
            for index in chosen
        ],
        "cells": {
            f"{label}{prediction}": [place[index] for index in cell]
            for (label, prediction), cell in sorted(cells.items())
        },
        "hardest": [place[index] for index in truth.argsort(stable=True)[:SHOWN].tolist()],
    }


def _pixels(images: Tensor) -> str:
    return base64.b64encode(images.to(torch.uint8).numpy().tobytes()).decode()


def _layers(rows: list[Row]) -> Iterator[dict[str, Any]]:
    """Yield a convolution with all that follows it, up to the next one."""
    starts = [number for number, row in enumerate(rows) if row.kind == "Conv2d"]
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(rows)], strict=True), 1):
        part = rows[start:end]
        kinds = [row.kind for row in part]
        channels, side, _ = part[-1].shape
        then = ["batch norm, ReLU"] if "BatchNorm2d" in kinds else ["mean over what is left"]
        if "MaxPool2d" in kinds:
            then.append("max-pool 2")
        yield {
            "number": number,
            "what": ", ".join(["3 × 3 convolution", *then]),
            "pooled": "MaxPool2d" in kinds,
            "channels": channels,
            "side": side,
            "parameters": sum(row.parameters for row in part),
            "multiply_adds": sum(row.multiply_adds for row in part),
            "field": part[0].receptive_field,
        }
