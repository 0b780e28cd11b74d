"""The layer table, read off the network as an image passes through it."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

MIB = 1024**2
FLOAT = 4  # bytes


class Row(NamedTuple):
    """One call of one layer, for a single image."""

    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: int


def trace(network: nn.Module, image_shape: tuple[int, int, int] = (1, 28, 28)) -> list[Row]:
    """Pass one blank image through `network` and return a row for each leaf layer called.

    The receptive field is the side, in pixels of the input, of what one output sees: each layer
    widens it by (kernel - 1) times the stride so far (Dumoulin and Visin, 2016).
    """
    rows: list[Row] = []
    field, stride = 1, 1

    def record(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal field, stride
        multiply_adds = 0
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            field += (_side(layer.kernel_size) - 1) * stride
            stride *= _side(layer.stride)
        if isinstance(layer, nn.Conv2d):
            multiply_adds = layer.weight.numel() * math.prod(output.shape[2:])
        parameters = sum(p.numel() for p in layer.parameters())
        name = type(layer).__name__
        rows.append(Row(name, tuple(output.shape[1:]), parameters, multiply_adds, field))

    leaves = [layer for layer in network.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(record) for layer in leaves]
    was_training = network.training
    try:
        network.eval()
        with torch.no_grad():
            network(torch.zeros(1, *image_shape, device=next(network.parameters()).device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return rows


def summarise(network: nn.Module, image_shape: tuple[int, int, int] = (1, 28, 28)) -> str:
    """Return two tables as text: torchsummary's, then what each layer sees and costs.

    Sizes are in MiB (the first table heads them MB, as torchsummary does); the backward pass is
    taken to hold as much as the forward pass.
    """
    rows = trace(network, image_shape)
    total = sum(p.numel() for p in network.parameters())
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    input_size = math.prod(image_shape) * FLOAT / MIB
    pass_size = 2 * sum(math.prod(row.shape) for row in rows) * FLOAT / MIB
    parameter_size = total * FLOAT / MIB
    names = [f"{row.kind}-{number}" for number, row in enumerate(rows, start=1)]
    double, single = "=" * 64, "-" * 64
    return "\n".join(
        [
            single,
            f"{'Layer (type)':>20}  {'Output Shape':>25} {'Param #':>15}",
            double,
            *(
                f"{name:>20}  {[-1, *row.shape]!s:>25} {row.parameters:>15,}"
                for name, row in zip(names, rows, strict=True)
            ),
            double,
            f"Total params: {total:,}",
            f"Trainable params: {trainable:,}",
            f"Non-trainable params: {total - trainable:,}",
            single,
            f"Input size (MB): {input_size:.2f}",
            f"Forward/backward pass size (MB): {pass_size:.2f}",
            f"Params size (MB): {parameter_size:.2f}",
            f"Estimated Total Size (MB): {input_size + pass_size + parameter_size:.2f}",
            single,
            "",
            f"{'Layer (type)':>20}  {'Receptive field':>25} {'Multiply-adds':>15}",
            double,
            *(
                f"{name:>20}  {f'{row.receptive_field} x {row.receptive_field}':>25} "
                f"{row.multiply_adds:>15,}"
                for name, row in zip(names, rows, strict=True)
                if row.multiply_adds
            ),
            double,
            f"Multiply-adds of one image: {sum(row.multiply_adds for row in rows):,}",
            "",
        ]
    )


def _side(size: int | tuple[int, ...]) -> int:
    return size if isinstance(size, int) else size[0]
