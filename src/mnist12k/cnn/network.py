"""A network as a PyTorch module, built from its architecture."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist12k.cnn import architecture, cpu_block
from mnist12k.cnn.architecture import Architecture, Shape
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import mean_and_deviation
from mnist12k.errors import UserError


class Dropout(nn.Module):
    """`nn.Dropout` that draws from its own generator if it has one, else from PyTorch's."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """In training, zero each value with probability `rate`, and scale up the others."""
        if not self.training or self.rate == 0:
            return x
        # In one layout, so that the draws do not depend on that of `x`.
        kept = torch.ones_like(x, memory_format=torch.channels_last)
        if x.device.type == "cpu":
            cpu_block.drop_(kept, self.rate, self.generator)
        else:
            kept.bernoulli_(1 - self.rate, generator=self.generator)
        return x * kept.mul_(1 / (1 - self.rate))


class Block(nn.Module):
    """Convolution, batch norm, shortcut and max-pool if there are any, ReLU, dropout.

    `channels_in` are those of its input, and `source` is what its shortcut adds or projects.
    """

    def __init__(
        self, channels_in: int, block: architecture.Block, source: Shape | None, dropout: float
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, block.channels, block.kernel, padding=block.padding)
        self.norm = nn.BatchNorm2d(block.channels)
        self.projection: Projection | None = None
        if source is not None and block.projection:
            self.projection = Projection(source.channels, block.channels)
        self.pool = nn.MaxPool2d(2) if block.pool else None
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """Map (n, channels_in, h, w), and what the shortcut begins with, to (n, channels, h', w').

        ReLU comes after the max-pool, with which it commutes.
        """
        if self.training and x.device.type == "cpu":
            return cpu_block.forward(x, source, self)
        x = self.norm(self.conv(x))
        if source is not None:
            x = x + (source if self.projection is None else self.projection(source))
        if self.pool is not None:
            x = self.pool(x)
        output: Tensor = self.dropout(F.relu(x))
        return output


class Projection(nn.Module):
    """A 1x1 convolution and batch norm."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 1)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels_in, h, w) to (n, channels_out, h, w)."""
        output: Tensor = self.norm(self.conv(x))
        return output


class Network(nn.Module):
    """Map images, float32 of shape (n, channels, side, side) in [0, 1], to logits (n, classes).

    `dropout` is the rate after each block, in [0, 1), or a sequence with one rate per block.
    """

    def __init__(self, layers: Architecture, dropout: float | Sequence[float] = 0.0) -> None:
        super().__init__()
        rates = dropout if isinstance(dropout, Sequence) else [dropout] * len(layers.blocks)
        entering = layers.shapes()
        self.architecture = layers
        self.reach = max(block.residual for block in layers.blocks)
        self.blocks = nn.ModuleList(
            Block(entering[index].channels, block, layers.shortcut(index), rates[index])
            for index, block in enumerate(layers.blocks)
        )
        self.head = new_head(layers, entering[-1])

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        x = (images - self.architecture.mean) / self.architecture.deviation
        entered: list[Tensor] = []  # by the last blocks, as many as a shortcut spans
        for block, layer in zip(self.blocks, self.architecture.blocks, strict=True):
            entered = [*entered, x][-self.reach :] if self.reach else []
            x = block(x, entered[-layer.residual] if layer.residual else None)
        match self.architecture.head.kind:
            case "convolution":
                logits: Tensor = self.head(x).mean(dim=(2, 3))
            case "average":
                logits = self.head(x.mean(dim=(2, 3)))
            case "dense":
                logits = self.head(x.flatten(1))
        return logits


def new_head(layers: Architecture, entering: Shape) -> nn.Module:
    """Return the head's layers, initialised by PyTorch."""
    head, (channels, side), classes = layers.head, entering, len(layers.classes)
    match head.kind:
        case "convolution":
            return nn.Conv2d(channels, classes, head.kernel)
        case "average":
            return nn.Linear(channels, classes)
        case "dense":
            if not head.units:
                return nn.Linear(channels * side**2, classes)
            hidden = nn.Linear(channels * side**2, head.units)
            return nn.Sequential(hidden, nn.ReLU(), nn.Linear(head.units, classes))


def new_network(settings: Train, device: torch.device) -> Network:
    """Return a network initialised from the seed, its weights laid out for the fastest convolution.

    The weights are drawn on the CPU: a seed starts from the same weights on every device.
    """
    torch.manual_seed(settings.seed)
    network = Network(settings.architecture, settings.dropout)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def normalising(layers: Architecture, images: Tensor) -> Architecture:
    """Return the architecture with the mean and the deviation of these images' pixels.

    They are all training images, those of the hold-out set included, so that trainings compare.
    Raises UserError if the images, uint8, are all of one grey level.
    """
    mean, deviation = mean_and_deviation(images)
    if deviation == 0:
        raise UserError("the training images have only one grey level")
    return layers.model_copy(update={"mean": mean, "deviation": deviation})


def for_images(settings: Train, images: Tensor) -> Train:
    """Return a training whose network normalises by these images; see `normalising`."""
    layers = normalising(settings.architecture, images)
    return settings.model_copy(update={"architecture": layers})


def to_unit_range(images: Tensor) -> Tensor:
    """Map images, uint8 as in `Digits`, to the network's (n, channels, h, w) in [0, 1]."""
    return (images.unsqueeze(1) if images.dim() == 3 else images).float() / 255


def parameter_count(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@contextmanager
def dropout_generator(network: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """Make the dropouts of `network` draw from `generator` within the block."""
    dropouts = [module for module in network.modules() if isinstance(module, Dropout)]
    for dropout in dropouts:
        dropout.generator = generator
    try:
        yield
    finally:
        for dropout in dropouts:
            dropout.generator = None
