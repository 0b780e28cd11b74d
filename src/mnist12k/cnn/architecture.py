"""The network as data: the one list that every program of its forward pass is built from."""

from typing import NamedTuple


class Convolution(NamedTuple):
    """A convolution, and whether a 2x2 max-pool follows.

    In `BLOCKS` batch norm and ReLU come before the max-pool and dropout after it; the `HEAD` is
    followed by the mean over what is left of the image.
    """

    channels_in: int
    channels_out: int
    kernel: int = 3
    padding: int = 0
    pool: bool = False


BLOCKS = (
    Convolution(1, 8, padding=1),
    Convolution(8, 8, padding=1),
    Convolution(8, 8, padding=1, pool=True),
    Convolution(8, 16, padding=1),
    Convolution(16, 16, pool=True),
    Convolution(16, 32),
)
HEAD = Convolution(32, 10)
