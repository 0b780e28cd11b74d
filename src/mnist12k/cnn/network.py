"""The network as a PyTorch module, built from its architecture: 12,442 parameters."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist12k.cnn import cpu_block
from mnist12k.cnn.architecture import BLOCKS, HEAD, Convolution

# Mean and standard deviation of MNIST's training pixels, scaled to [0, 1].
MEAN, STD = 0.1307, 0.3081


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
        if x.device.type == "cpu":
            kept = torch.ones_like(x, memory_format=torch.channels_last)
            cpu_block.drop_(kept, self.rate, self.generator)
        else:
            kept = torch.empty_like(x).bernoulli_(1 - self.rate, generator=self.generator)
        return x * kept.mul_(1 / (1 - self.rate))


class Block(nn.Module):
    """Convolution, batch norm, ReLU, a max-pool if there is one, dropout."""

    def __init__(self, convolution: Convolution, dropout: float) -> None:
        super().__init__()
        self.conv = conv2d(convolution)
        self.norm = nn.BatchNorm2d(convolution.channels_out)
        self.pool = nn.MaxPool2d(2) if convolution.pool else None
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels_in, h, w) to (n, channels_out, h', w')."""
        if self.training and x.device.type == "cpu":
            dropout = self.dropout
            return cpu_block.forward(
                x, self.conv, self.norm, self.pool, dropout.rate, dropout.generator
            )
        x = F.relu(self.norm(self.conv(x)))
        if self.pool is not None:
            x = self.pool(x)
        output: Tensor = self.dropout(x)
        return output


class Network(nn.Module):
    """Map images, float32 of shape (n, 1, 28, 28) in [0, 1], to logits of shape (n, 10).

    `dropout` is the rate after each block, in [0, 1), or a sequence with one rate per block.
    """

    def __init__(
        self,
        dropout: float | Sequence[float] = 0.0,
        blocks: Sequence[Convolution] = BLOCKS,
        head: Convolution = HEAD,
    ) -> None:
        super().__init__()
        rates = dropout if isinstance(dropout, Sequence) else [dropout] * len(blocks)
        self.architecture = (*blocks, head)
        self.blocks = nn.Sequential(*map(Block, blocks, rates))
        self.head = conv2d(head)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        x = self.blocks((images - MEAN) / STD)
        logits: Tensor = self.head(x).mean(dim=(2, 3))
        return logits


def conv2d(convolution: Convolution) -> nn.Conv2d:
    """Return the convolution as a layer, initialised by PyTorch."""
    channels_in, channels_out, kernel, padding, _ = convolution
    return nn.Conv2d(channels_in, channels_out, kernel, padding=padding)


def new_network(dropout: float | Sequence[float], seed: int, device: torch.device) -> Network:
    """Return a network initialised from `seed`, its weights laid out for the fastest convolution.

    The weights are drawn on the CPU: a seed starts from the same weights on every device.
    """
    torch.manual_seed(seed)
    return Network(dropout).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def to_unit_range(images: Tensor) -> Tensor:
    """Map images of shape (n, 28, 28), uint8, to the network's (n, 1, 28, 28) in [0, 1]."""
    return images.unsqueeze(1).float() / 255


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
