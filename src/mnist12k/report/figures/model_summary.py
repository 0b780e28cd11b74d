"""The layer table, recorded while an image passes through the network."""

import copy
import math
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mnist12k.cnn.network import Network

MIB = 1024**2
FLOAT = 4  # bytes


class Row(NamedTuple):
    """One call of one layer, for a single image; the name is that in the network's state_dict."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: int


def trace(network: Network) -> list[Row]:
    """Pass one blank image through `network` and return one row per call of a leaf layer.

    The receptive field is the side, in pixels, of the input region that one output depends on:
    each layer widens it by (kernel - 1) times the stride so far (Dumoulin and Visin, 2016).
    """
    rows: list[Row] = []
    field, stride = 1, 1
    image = network.architecture.image_shape

    def record(name: str, layer: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal field, stride
        multiply_adds = 0
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):  # sizes are an int or a pair
            field += (int(np.max(layer.kernel_size)) - 1) * stride
            stride *= int(np.max(layer.stride))
        if isinstance(layer, nn.Linear):  # of all places
            field = max(field, image[-1])
        if isinstance(layer, nn.Conv2d | nn.Linear):
            multiply_adds = layer.weight.numel() * math.prod(output.shape[2:])
        shape = tuple(output.shape[1:])
        parameters = sum(p.numel() for p in layer.parameters())
        rows.append(Row(name, type(layer).__name__, shape, parameters, multiply_adds, field))

    network = copy.deepcopy(network).eval()  # the hooks stay on the copy
    for name, layer in network.named_modules():
        if not list(layer.children()):
            layer.register_forward_hook(partial(record, name))
    with torch.no_grad():
        network(torch.zeros(1, *image, device=next(network.parameters()).device))
    return rows


def summarise(network: Network) -> str:
    """Return two tables as text: torchsummary's, then receptive fields and multiply-adds.

    Sizes are in MiB, labelled MB as in torchsummary; the backward pass is taken to need as much
    memory as the forward pass.
    """
    line = "{:>20}  {:>25} {:>15}".format
    shapes, fields = [], []
    rows = trace(network)
    for number, row in enumerate(rows, start=1):
        name = f"{row.kind}-{number}"
        shapes.append(line(name, str([-1, *row.shape]), f"{row.parameters:,}"))
        if row.multiply_adds:
            field = f"{row.receptive_field} x {row.receptive_field}"
            fields.append(line(name, field, f"{row.multiply_adds:,}"))
    total = sum(p.numel() for p in network.parameters())
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    input_size = math.prod(network.architecture.image_shape) * FLOAT / MIB
    pass_size = 2 * sum(math.prod(row.shape) for row in rows) * FLOAT / MIB
    parameter_size = total * FLOAT / MIB
    double, single = "=" * 64, "-" * 64
    lines = [
        single,
        line("Layer (type)", "Output Shape", "Param #"),
        double,
        *shapes,
        double,
        f"Total params: {total:,}",
        f"Trainable params: {trainable:,}",
        f"Non-trainable params: {total - trainable:,}",
        single,
        f"Input size (MB): {input_size:.2f}",
        f"Forward/backward pass size (MB): {pass_size:.2f}",
        f"Params size (MB): {parameter_size:.2f}",
        f"Estimated Total Size (MB): {input_size + pass_size + parameter_size:.2f}",
        f"{single}\n",
        line("Layer (type)", "Receptive field", "Multiply-adds"),
        double,
        *fields,
        double,
        f"Multiply-adds of one image: {sum(row.multiply_adds for row in rows):,}\n",
    ]
    return "\n".join(lines)
