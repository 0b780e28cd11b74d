"""Networks as data: the list that every program of a forward pass is built from, and its shapes."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, Strict, model_validator

from mnist12k.digits.settings import Channels, Classes, Side
from mnist12k.files import Section

DIGITS = tuple("0123456789")


class Shape(NamedTuple):
    """Of one image on its way through the network: square maps."""

    channels: int
    side: int


class Block(Section):
    """Convolution, batch norm, the shortcut if there is one, a 2x2 max-pool if there is one, ReLU.

    A shortcut adds what has entered `residual` blocks earlier, this one counted: with 2, a pair of
    blocks computes what to add to its own input (He et al., 2015). A `projection` is a 1x1
    convolution with batch norm in the shortcut, for another number of channels.
    """

    channels: int = Field(ge=1, le=1024)
    kernel: int = Field(default=3, ge=1, le=31)
    padding: int = Field(default=0, ge=0, le=15)
    pool: bool = False
    residual: int = Field(default=0, ge=0, le=200)
    projection: bool = False


class Head(Section):
    """What turns the last block's maps into one logit per class.

    `convolution`: one map per class, and the mean over it. `average`: the mean over each map, and a
    linear layer. `dense`: linear layers on all values, the first with `units` outputs and ReLU.
    """

    kind: Literal["convolution", "average", "dense"]
    kernel: int = Field(default=3, ge=1, le=31)  # of the convolution
    units: int = Field(default=0, ge=0, le=4096)  # of the dense head's hidden layer; 0: none


class Layers(Section):
    """A network of params.yaml, which fits images of different sizes."""

    blocks: Annotated[tuple[Block, ...], Strict(False), Field(min_length=1, max_length=200)]
    head: Head


class Architecture(Layers):
    """A network for square images of given classes, grey or, with three channels, in colour.

    It subtracts `mean` from every pixel, in [0, 1], and divides by `deviation`.
    """

    side: Side
    channels: Channels = 1  # of an image
    classes: Classes
    mean: float = Field(default=0, ge=0, le=1)
    deviation: float = Field(default=1, gt=0, le=1)

    @model_validator(mode="after")
    def _shapes_add_up(self) -> Self:
        self.shapes()
        return self

    @property
    def reads_digits(self) -> bool:
        """Whether a picture of a digit can be prepared as its images were, as MNIST's."""
        return self.image_shape == (1, 28, 28) and self.classes == DIGITS

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of one image that enters the network: (channels, side, side)."""
        return self.channels, self.side, self.side

    def shapes(self) -> list[Shape]:
        """Return what enters each block, and the head; raise ValueError if a shape is impossible.

        Blocks are counted from 1 in messages.
        """
        entering = [Shape(self.channels, self.side)]
        for number, block in enumerate(self.blocks, start=1):
            side = entering[-1].side + 2 * block.padding - block.kernel + 1
            shape = Shape(block.channels, side)
            if side < 1:
                raise ValueError(
                    f"block {number}: a kernel of {block.kernel} does not fit on maps of side "
                    f"{entering[-1].side} with a padding of {block.padding}"
                )
            _check_shortcut(f"block {number}", block, entering, shape)
            if block.pool and shape.side < 2:
                raise ValueError(f"block {number}: a map of side 1 cannot be pooled")
            entering.append(Shape(block.channels, shape.side // 2 if block.pool else shape.side))
        if self.head.kind == "convolution" and self.head.kernel > entering[-1].side:
            raise ValueError(
                f"head: a kernel of {self.head.kernel} does not fit on maps of side "
                f"{entering[-1].side}"
            )
        if self.head.kind != "dense" and self.head.units:
            raise ValueError(f"head: kind {self.head.kind} has no units; only dense has")
        return entering

    def shortcut(self, index: int) -> Shape | None:
        """Return what the shortcut of a block, counted from 0, adds or projects; None without."""
        residual = self.blocks[index].residual
        return self.shapes()[index + 1 - residual] if residual else None

    def parameters(self) -> int:
        """Return the number of trainable parameters."""
        entering = self.shapes()
        count = 0
        for index, block in enumerate(self.blocks):
            count += _convolution(entering[index].channels, block.channels, block.kernel)
            count += 2 * block.channels
            shortcut = self.shortcut(index)
            if block.projection and shortcut:
                count += _convolution(shortcut.channels, block.channels, 1) + 2 * block.channels
        last = entering[-1]
        match self.head.kind:
            case "convolution":
                return count + _convolution(last.channels, len(self.classes), self.head.kernel)
            case "average":
                return count + _convolution(last.channels, len(self.classes), 1)
            case "dense":
                sizes = [last.channels * last.side**2, self.head.units, len(self.classes)]
                sizes = [size for size in sizes if size]
                return count + sum(_convolution(*pair, 1) for pair in pairwise(sizes))


def with_fields(layers: Architecture, fields: Mapping[str, Sequence[Any]]) -> Architecture:
    """Return an architecture with other values of some fields of its blocks, one per block.

    Raises ValueError unless there are as many values as blocks, and the shapes add up.
    """
    blocks = [block.model_dump() for block in layers.blocks]
    for name, values in fields.items():
        if not isinstance(values, list | tuple) or len(values) != len(blocks):
            raise ValueError(f"{name} = {values}: {len(blocks)} values are needed, one per block")
        for block, value in zip(blocks, values, strict=True):
            block[name] = value
    return Architecture.model_validate(layers.model_dump() | {"blocks": blocks})


def _convolution(channels_in: int, channels_out: int, kernel: int) -> int:
    return channels_out * (channels_in * kernel**2 + 1)


def _check_shortcut(name: str, block: Block, entering: list[Shape], shape: Shape) -> None:
    if not block.residual:
        if block.projection:
            raise ValueError(f"{name}: a projection needs residual above 0")
        return
    if block.residual > len(entering):
        raise ValueError(f"{name}: residual = {block.residual}: allowed: 0 to {len(entering)}")
    source = entering[len(entering) - block.residual]
    if source.side != shape.side:
        raise ValueError(
            f"{name}: its maps have the side {shape.side}, those of its shortcut {source.side}"
        )
    if source.channels != shape.channels and not block.projection:
        raise ValueError(
            f"{name}: its shortcut has {source.channels} channels, not {shape.channels}; "
            "it needs a projection"
        )
