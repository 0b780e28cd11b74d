"""MNIST as tensors, and the split of its training images."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.datasets.mnist import read_image_file, read_label_file

from mnist12k.digits.settings import RAW
from mnist12k.errors import UserError

# The hold-out set does not depend on a training's seed, so that trainings compare.
SPLIT_SEED = 0


class Digits(NamedTuple):
    """Images of shape (n, 28, 28), uint8, 0 the background; labels of shape (n,), int64, 0 to 9."""

    images: Tensor
    labels: Tensor

    def subset(self, chosen: Tensor) -> "Digits":
        """Return the digits at these indices."""
        return Digits(self.images[chosen], self.labels[chosen])

    def to(self, device: torch.device) -> "Digits":
        """Return the same digits on a device."""
        return Digits(self.images.to(device), self.labels.to(device))


def load_training_digits(root: Path) -> Digits:
    """Return the 60,000 training images under `root`; raise UserError if missing or damaged."""
    return _load(root, "train")


def load_test_digits(root: Path) -> Digits:
    """Return the 10,000 test images under `root`. For the final evaluation only."""
    return _load(root, "t10k")


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


def _load(root: Path, part: str) -> Digits:
    images = _read(read_image_file, root / RAW / f"{part}-images-idx3-ubyte")
    labels = _read(read_label_file, root / RAW / f"{part}-labels-idx1-ubyte")
    if images.shape != (len(labels), 28, 28) or not len(labels) or labels.max() > 9:
        raise UserError(
            f"{root / RAW}: {part} has images of shape {tuple(images.shape)} and "
            f"{len(labels)} labels; (n, 28, 28) and n labels from 0 to 9 are needed"
        )
    return Digits(images, labels)


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
