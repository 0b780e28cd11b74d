"""The CNN on the page: its layers, its weights, and test images with its predictions."""

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch.nn.functional as F
from markupsafe import Markup
from numpy.typing import NDArray

from mnist12k.cnn.architecture import Architecture, Block
from mnist12k.cnn.ema import averaged_tensors
from mnist12k.cnn.evaluate import predict
from mnist12k.cnn.network import Network
from mnist12k.digits.dataset import Digits
from mnist12k.files import damaged
from mnist12k.outputs import PREDICTIONS
from mnist12k.report.figures.drawing import draw_network
from mnist12k.report.figures.model_summary import trace

IMAGES = 12  # per cell of the confusion matrix, and of the hardest ones


def network_content(network: Network) -> dict[str, Any]:
    """Return the layers for the diagram and the table: each block, and the head."""
    table = pd.DataFrame(trace(network))
    of_block = table["name"].str.extract(r"^(blocks\.\d+|head)", expand=False)
    architecture = network.architecture
    texts = [*map(_operations, architecture.blocks), _head_operations(architecture)]
    layers = []
    for (_, rows), (operations, output) in zip(
        table.groupby(of_block, sort=False), texts, strict=True
    ):
        channels, *sides = rows["shape"].iloc[-1]
        layers.append(
            {
                "operations": operations,
                "output": output,
                "channels": channels,
                "across": math.ceil(math.sqrt(1.7 * channels)),
                "side": sides[0] if sides else 1,
                "parameters": rows["parameters"].sum(),
                "multiply_adds": rows["multiply_adds"].sum(),
                "receptive_field": rows["receptive_field"].iloc[0],
            }
        )
    return {
        "architecture": architecture,
        "layers": layers,
        "parameters": table["parameters"].sum(),
        "multiply_adds": table["multiply_adds"].sum(),
    }


def networks_content(networks: Mapping[str, Architecture]) -> list[dict[str, Any]]:
    """Return a drawing of every network, and what it costs per image.

    Kept values are those of the convolutions' outputs, which the gradient needs.
    """
    content = []
    for name, architecture in networks.items():
        rows = trace(Network(architecture))
        content.append(
            {
                "name": name,
                "drawing": Markup(draw_network(architecture, name)),  # noqa: S704 - escaped there
                "layers": len(architecture.blocks) + 1,
                "parameters": architecture.parameters(),
                "multiply_adds": sum(row.multiply_adds for row in rows),
                "kept": sum(math.prod(row.shape) for row in rows if row.kind == "Conv2d"),
            }
        )
    return content


def _operations(block: Block) -> tuple[str, str]:
    """Return what a block does, and a word for what leaves it."""
    steps = [f"{block.kernel} × {block.kernel} convolution", "batch norm"]
    if block.residual:
        through = ", through a 1 × 1 convolution" if block.projection else ""
        steps.append(f"plus the input of {_counted(block.residual, 'block')}{through}")
    steps.append("ReLU")
    if block.pool:
        steps.append("2 × 2 max-pool")
    return ", ".join(steps), "pooled" if block.pool else "added" if block.residual else "convolved"


def _head_operations(architecture: Architecture) -> tuple[str, str]:
    head = architecture.head
    match head.kind:
        case "convolution":
            return f"{head.kernel} × {head.kernel} convolution, mean over each map", "averaged"
        case "average":
            return "mean over each map, linear layer", "logits"
        case "dense":
            hidden = f"linear layer of {head.units} units, ReLU, " if head.units else ""
            return f"{hidden}linear layer", "logits"


def _counted(count: int, noun: str) -> str:
    return f"this {noun}" if count == 1 else f"the last {count} {noun}s"


def network_data(network: Network) -> dict[str, Any]:
    """Return what the page's forward pass needs; weights are float32 in the state_dict's order."""
    return {
        "epsilon": network.get_submodule("blocks.0.norm").eps,
        "architecture": network.architecture.model_dump(),
        "weights": base64_text(flat_weights(network)),
    }


def flat_weights(network: Network) -> NDArray[np.float32]:
    """Return parameters and batch-norm statistics in one row, in the state_dict's order."""
    values = averaged_tensors(network)
    return np.concatenate([value.cpu().contiguous().numpy().ravel() for value in values])


def digits_data(network: Network, digits: Digits, predictions: pd.DataFrame) -> dict[str, Any]:
    """Return test images, their predictions, and the cells of the confusion matrix they are in.

    Of each cell only the IMAGES whose label got the lowest probabilities, lowest first. Raises
    UserError if `predictions` (label, prediction) are not of these digits.
    """
    if predictions["label"].tolist() != digits.labels.tolist():
        raise damaged(PREDICTIONS, "its labels are not those of the test images")
    probabilities = F.softmax(predict(network, digits.images), dim=1).numpy()
    of_label = probabilities[np.arange(len(predictions)), predictions["label"]]
    hardest = predictions.assign(of_label=of_label).sort_values("of_label", kind="stable")
    cells = hardest.groupby(["label", "prediction"])
    shown = cells.head(IMAGES).sort_index()
    position = pd.Series(range(len(shown)), shown.index)
    return {
        "pixels": base64_text(digits.images.numpy()[shown.index]),
        "images": [
            {
                "index": index,
                "label": label,
                "prediction": prediction,
                "probabilities": [round(p, 5) for p in probabilities[index].tolist()],
            }
            for index, label, prediction in shown[["label", "prediction"]].itertuples()
        ],
        "cells": {
            f"{label}-{prediction}": position[cell.index[:IMAGES]].tolist()
            for (label, prediction), cell in cells
        },
        "hardest": position[hardest.index[:IMAGES]].tolist(),
    }


def base64_text(array: NDArray[Any]) -> str:
    """Return the bytes of an array, for the function bytes() of network.js."""
    return base64.b64encode(array.tobytes()).decode()
