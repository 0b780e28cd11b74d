"""The data set as tensors, and the split of its training images."""

import math
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from mnist12k.digits.settings import RAW
from mnist12k.errors import UserError

# The hold-out set does not depend on a training's seed, so that trainings compare.
SPLIT_SEED = 0


class Kind(Protocol):
    """The images that a network takes; see cnn.architecture.Architecture."""

    @property
    def side(self) -> int:
        """Of a square image, in pixels."""

    @property
    def channels(self) -> int:
        """1 of grey images, 3 of colour."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, by label."""


class Digits(NamedTuple):
    """Images of shape (n, side, side), uint8, 0 the background; labels of shape (n,), int64.

    Colour images have the shape (n, 3, side, side): red, green, blue.
    """

    images: Tensor
    labels: Tensor

    def subset(self, chosen: Tensor) -> "Digits":
        """Return the digits at these indices."""
        return Digits(self.images[chosen], self.labels[chosen])

    def to(self, device: torch.device) -> "Digits":
        """Return the same digits on a device."""
        return Digits(self.images.to(device), self.labels.to(device))


def load_training_digits(root: Path, kind: Kind) -> Digits:
    """Return the training images under `root`.

    Raises UserError if they are missing, damaged or of another kind.
    """
    return _load(root, "train", kind)


def load_test_digits(root: Path, kind: Kind) -> Digits:
    """Return the test images under `root`, as above. For the final evaluation only."""
    return _load(root, "t10k", kind)


def mean_and_deviation(images: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation of uint8 images' values / 255, to four decimals."""
    counts = sum(torch.bincount(part.flatten(), minlength=256) for part in images.split(10_000))
    levels = torch.arange(256, dtype=torch.float64) / 255
    fractions = torch.as_tensor(counts).double() / images.numel()
    mean = (fractions @ levels).item()
    deviation = (fractions @ (levels - mean) ** 2).sqrt().item()
    return round(mean, 4), round(deviation, 4)


def split(digits: Digits, validation_size: int) -> tuple[Digits, Digits]:
    """Split the training images by a fixed permutation; return (training, validation).

    Raises UserError if there would be nothing to train on.
    """
    count = len(digits.labels)
    if validation_size >= count:
        raise UserError(
            f"train.validation_size = {validation_size}: it should be less than the "
            f"{count} training images"
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(SPLIT_SEED))
    return digits.subset(order[validation_size:]), digits.subset(order[:validation_size])


def _load(root: Path, part: str, kind: Kind) -> Digits:
    images = _read(root / RAW / f"{part}-images-idx3-ubyte", dimensions=(3, 4))
    labels = _labels(root, part)
    needed = (kind.side, kind.side, kind.channels)[: 3 if kind.channels > 1 else 2]
    if images.shape != (len(labels), *needed) or not len(labels):
        raise UserError(
            f"{root / RAW}: {part} has images of shape {tuple(images.shape)} and {len(labels)} "
            f"labels; fetch.side = {kind.side} and fetch.channels = {kind.channels} need "
            f"(n, {', '.join(map(str, needed))}) and n labels"
        )
    if kind.channels > 1:
        images = images.permute(0, 3, 1, 2).contiguous()
    first = _first_label(labels if part == "train" else _labels(root, "train"), kind)
    last = first + len(kind.classes) - 1
    if len(wrong := labels[(labels < first) | (labels > last)]):
        raise UserError(
            f"{root / RAW}: {part} has the label {wrong[0]}; the {len(kind.classes)} "
            f"fetch.classes have the labels {first} to {last}"
        )
    return Digits(images, labels - first)


def _first_label(labels: Tensor, kind: Kind) -> int:
    """Return the label of the first class: 1 in EMNIST's letters, for example."""
    return int(len(labels) > 0 and labels.min() > 0 and labels.max() == len(kind.classes))


def _labels(root: Path, part: str) -> Tensor:
    return _read(root / RAW / f"{part}-labels-idx1-ubyte", dimensions=(1,)).long()


def _read(path: Path, dimensions: tuple[int, ...]) -> Tensor:
    """Return the bytes in an IDX file of one of these numbers of dimensions.

    LeCun's format: two zeros, 8 for bytes, the number of dimensions, their sizes, the bytes.
    torchvision reads it too, but takes seconds to import.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; `dvc repro fetch` downloads it")
    content = path.read_bytes()
    count = content[3] if len(content) > 3 and content[3] in dimensions else dimensions[0]
    start = 4 + 4 * count
    sizes = [int(size) for size in np.frombuffer(content[4:start].ljust(start - 4), ">u4")]
    if content[:4] != bytes([0, 0, 8, count]) or len(content) != start + math.prod(sizes):
        raise UserError(
            f"{path} is damaged: it is no IDX file of {' or '.join(map(str, dimensions))} "
            f"dimensions, or not a whole one; "
            "remove data/mnist and `dvc repro fetch`"
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(sizes).copy())
