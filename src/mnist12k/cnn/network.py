"""The network: seven 3x3 convolutions, 12,442 parameters."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist12k.cnn import cpu_block

# Mean and standard deviation of MNIST's training pixels, scaled to [0, 1].
MEAN, STD = 0.1307, 0.3081


class Layer(NamedTuple):
    """One convolution with what follows it: batch norm, ReLU, perhaps a 2x2 max-pool, dropout."""

    channels_in: int
    channels_out: int
    padding: int
    pool: bool = False


LAYERS = (
    Layer(1, 8, padding=1),
    Layer(8, 8, padding=1),
    Layer(8, 8, padding=1, pool=True),
    Layer(8, 16, padding=1),
    Layer(16, 16, padding=0, pool=True),
    Layer(16, 32, padding=0),
)


class Dropout(nn.Module):
    """`nn.Dropout` that draws from a generator of its own, or from PyTorch's where it has none."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Set each value to 0 with probability `rate`, and scale the others up, while training."""
        if not self.training or self.rate == 0:
            return x
        if x.device.type == "cpu":
            kept = torch.ones_like(x, memory_format=torch.channels_last)
            cpu_block.drop_(kept, self.rate, self.generator)
        else:
            kept = torch.empty_like(x).bernoulli_(1 - self.rate, generator=self.generator)
        return x * kept.mul_(1 / (1 - self.rate))


class Block(nn.Module):
    """Convolution, batch norm, ReLU, perhaps a max-pool, dropout."""

    def __init__(self, layer: Layer, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(layer.channels_in, layer.channels_out, 3, padding=layer.padding)
        self.norm = nn.BatchNorm2d(layer.channels_out)
        self.pool = nn.MaxPool2d(2) if layer.pool else None
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels_in, h, w) to (n, channels_out, h', w')."""
        if self.training and x.device.type == "cpu":
            own = self.dropout
            return cpu_block.forward(x, self.conv, self.norm, self.pool, own.rate, own.generator)
        x = F.relu(self.norm(self.conv(x)))
        if self.pool is not None:
            x = self.pool(x)
        dropped: Tensor = self.dropout(x)
        return dropped


class Network(nn.Module):
    """Maps images, float32 of shape (n, 1, 28, 28) in [0, 1], to logits of shape (n, 10).

    `dropout` is the rate after each of the first six convolutions, in [0, 1), or one for each.
    """

    def __init__(self, dropout: float | Sequence[float] = 0.0) -> None:
        super().__init__()
        rates = dropout if isinstance(dropout, Sequence) else [dropout] * len(LAYERS)
        self.blocks = nn.Sequential(*map(Block, LAYERS, rates))
        self.head = nn.Conv2d(32, 10, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        x = self.blocks((images - MEAN) / STD)
        logits: Tensor = self.head(x).mean(dim=(2, 3))
        return logits


def to_unit_range(images: Tensor) -> Tensor:
    """Turn images of shape (n, 28, 28), uint8, into the network's (n, 1, 28, 28) in [0, 1]."""
    return images.unsqueeze(1).float() / 255


def parameter_count(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@contextmanager
def drawing_from(generator: torch.Generator, network: nn.Module) -> Iterator[None]:
    """Let the dropouts of `network` draw from `generator` while the block runs."""
    dropouts = [module for module in network.modules() if isinstance(module, Dropout)]
    for dropout in dropouts:
        dropout.generator = generator
    try:
        yield
    finally:
        for dropout in dropouts:
            dropout.generator = None


def new_network(dropout: float | Sequence[float], seed: int, device: torch.device) -> Network:
    """Return a network initialised from `seed`, its weights laid out for the fastest convolution.

    The weights are drawn on the CPU: the same seed starts from the same ones on any device.
    """
    torch.manual_seed(seed)
    return Network(dropout).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
