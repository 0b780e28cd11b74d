"""The CNN on the page: its layers, its weights, and test images with its predictions."""

import base64
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from mnist12k.cnn.architecture import Convolution
from mnist12k.cnn.evaluate import predict
from mnist12k.cnn.network import MEAN, STD, Network
from mnist12k.digits.dataset import Digits
from mnist12k.files import damaged
from mnist12k.outputs import PREDICTIONS
from mnist12k.report.figures.model_summary import Row, trace

IMAGES = 12  # per cell of the confusion matrix, and of the hardest ones


def network_content(network: Network) -> dict[str, Any]:
    """Return the layers for the diagram and the table."""
    rows = trace(network)
    starts = [number for number, row in enumerate(rows) if row.kind == "Conv2d"]
    ends = [*starts[1:], len(rows)]
    return {
        "layers": [
            _layer(convolution, rows[start:end])
            for convolution, start, end in zip(network.architecture, starts, ends, strict=True)
        ],
        "parameters": sum(row.parameters for row in rows),
        "multiply_adds": sum(row.multiply_adds for row in rows),
    }


def network_data(network: Network) -> dict[str, Any]:
    """Return what the page's forward pass needs; weights are float32 in the state_dict's order."""
    values = [value for value in network.state_dict().values() if value.is_floating_point()]
    flat = np.concatenate([value.cpu().contiguous().numpy().ravel() for value in values])
    return {
        "mean": MEAN,
        "std": STD,
        "epsilon": network.get_submodule("blocks.0.norm").eps,
        "architecture": [convolution._asdict() for convolution in network.architecture],
        "weights": base64.b64encode(flat.astype("<f4").tobytes()).decode(),
    }


def digits_data(network: Network, digits: Digits, predictions: pd.DataFrame) -> dict[str, Any]:
    """Return test images, their predictions, and the cells of the confusion matrix they are in.

    Of each cell only the IMAGES whose label got the lowest probabilities, lowest first. Raises
    UserError if `predictions` (label, prediction) are not of these digits.
    """
    if predictions["label"].tolist() != digits.labels.tolist():
        raise damaged(PREDICTIONS, "its labels are not those of the test images")
    probabilities = F.softmax(predict(network, digits.images), dim=1)
    of_label = probabilities.gather(1, digits.labels.unsqueeze(1)).squeeze(1)
    hardest = predictions.assign(of_label=of_label.numpy()).sort_values("of_label", kind="stable")
    shown = hardest.groupby(["label", "prediction"]).head(IMAGES)
    indices = sorted(shown.index)
    position = {index: number for number, index in enumerate(indices)}
    return {
        "pixels": _base64(digits.images[indices]),
        "images": [
            {
                "index": index,
                "label": int(predictions["label"][index]),
                "prediction": int(predictions["prediction"][index]),
                "probabilities": [round(p, 5) for p in probabilities[index].tolist()],
            }
            for index in indices
        ],
        "cells": {
            f"{label}{prediction}": [position[index] for index in cell.index]
            for (label, prediction), cell in shown.groupby(["label", "prediction"])
        },
        "hardest": [position[index] for index in hardest.index[:IMAGES]],
    }


def _base64(images: Tensor) -> str:
    return base64.b64encode(images.to(torch.uint8).numpy().tobytes()).decode()


def _layer(convolution: Convolution, rows: list[Row]) -> dict[str, Any]:
    """Describe a convolution and the layers that follow it, up to the next one."""
    is_block = any(row.kind == "BatchNorm2d" for row in rows)
    pooled = any(row.kind == "MaxPool2d" for row in rows)
    channels, side, _ = rows[-1].shape
    operations = [
        f"{convolution.kernel} × {convolution.kernel} convolution",
        "batch norm, ReLU" if is_block else "mean over each map",
    ]
    return {
        "operations": ", ".join([*operations, *(["2 × 2 max-pool"] if pooled else [])]),
        "output": "pooled" if pooled else "convolved" if is_block else "averaged",
        "channels": channels,
        "side": side,
        "parameters": sum(row.parameters for row in rows),
        "multiply_adds": sum(row.multiply_adds for row in rows),
        "receptive_field": rows[0].receptive_field,
    }
