"""The data set as tensors, and the split of its training images."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torchvision.datasets.mnist import read_image_file, read_label_file

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
    def classes(self) -> tuple[str, ...]:
        """Their names, by label."""


class Digits(NamedTuple):
    """Images of shape (n, side, side), uint8, 0 the background; labels of shape (n,), int64."""

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
    shares = torch.as_tensor(counts) / images.numel()
    mean = (shares.double() @ levels).item()
    deviation = (shares.double() @ (levels - mean) ** 2).sqrt().item()
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
    images = _read(read_image_file, root / RAW / f"{part}-images-idx3-ubyte")
    labels = _labels(root, part)
    if images.shape != (len(labels), kind.side, kind.side) or not len(labels):
        raise UserError(
            f"{root / RAW}: {part} has images of shape {tuple(images.shape)} and {len(labels)} "
            f"labels; fetch.side = {kind.side} needs (n, {kind.side}, {kind.side}) and n labels"
        )
    labels = labels - _first_label(root, kind)
    if labels.min() < 0 or labels.max() >= len(kind.classes):
        raise UserError(
            f"{root / RAW}: {part} has the label {labels.max()}; the {len(kind.classes)} "
            f"fetch.classes have the labels 0 to {len(kind.classes) - 1}"
        )
    return Digits(images, labels)


def _first_label(root: Path, kind: Kind) -> int:
    """Return the label of the first class: 1 in EMNIST's letters, for example."""
    labels = _labels(root, "train")
    return int(len(labels) > 0 and labels.min() > 0 and labels.max() == len(kind.classes))


def _labels(root: Path, part: str) -> Tensor:
    return _read(read_label_file, root / RAW / f"{part}-labels-idx1-ubyte")


def _read(reader: Callable[[str], Tensor], path: Path) -> Tensor:
    if not path.is_file():
        raise UserError(f"{path} is missing; `dvc repro fetch` downloads it")
    try:
        return reader(str(path))
    except Exception as error:  # torchvision's reader raises whatever a broken file leads to
        raise UserError(
            f"{path} is damaged ({error or type(error).__name__}); "
            "remove data/mnist and `dvc repro fetch`"
        ) from error
