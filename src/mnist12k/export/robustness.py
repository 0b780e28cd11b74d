"""The network on other images than it knows: shifted, rotated, noisy, inverted, or of nothing."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mnist12k.cnn.augment import warp
from mnist12k.cnn.evaluate import predict
from mnist12k.cnn.network import Network
from mnist12k.digits.dataset import Digits

SEED = 0
SHIFTS = (1, 2, 3, 4)  # pixels
ROTATIONS = (10, 20, 30, 45)  # degrees
NOISES = (0.1, 0.2, 0.3, 0.5)  # standard deviations, as fractions of the range black to white


class Condition(NamedTuple):
    """Correct predictions under one change, and the mean of the highest probability."""

    change: str
    correct: int
    total: int
    confidence: float


class Noise(NamedTuple):
    """Predictions for images that show nothing.

    The most frequent class, the mean of the highest probability, and the fraction of images for
    which that is above 90 %.
    """

    images: str
    mostly: str
    total: int
    confidence: float
    confident: float


def measure_images(network: nn.Module, digits: Digits) -> list[Condition]:
    """Evaluate the images, unchanged and under every change; the draws are fixed."""
    conditions = []
    for change, images in changes(digits.images):
        highest, predictions = _highest(network, images)
        correct = int((predictions == digits.labels).sum())
        conditions.append(Condition(change, correct, len(predictions), highest.mean().item()))
    return conditions


def measure_noise(network: Network, device: torch.device, count: int) -> list[Noise]:
    """Evaluate empty images, and `count` images of each kind of noise."""
    generator = torch.Generator().manual_seed(SEED)
    shape, classes = network.architecture.image_shape, network.architecture.classes
    random = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    faint = 128 + 25 * torch.randn(count, *shape, generator=generator)
    kinds: Mapping[str, Tensor] = {
        "empty, black": torch.zeros(1, *shape, dtype=torch.uint8),
        "empty, white": torch.full((1, *shape), 255, dtype=torch.uint8),
        "noise, uniform grey levels": random,
        "noise around a middle grey": _as_bytes(faint),
    }
    results = []
    for name, images in kinds.items():
        highest, predictions = _highest(network, images.to(device))
        mostly = classes[int(predictions.bincount().argmax())]
        confident = (highest > 0.9).float().mean().item()
        results.append(Noise(name, mostly, len(images), highest.mean().item(), confident))
    return results


def changes(images: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield each change's name, and the changed images, uint8 of the same shape.

    Shifts go up, down, left and right in turn, rotations either way in turn.
    """
    generator = torch.Generator().manual_seed(SEED)
    yield "none", images
    for pixels in SHIFTS:
        yield f"shifted by {pixels} px", _shifted(images, pixels)
    for degrees in ROTATIONS:
        yield f"rotated by {degrees}°", _rotated(images, degrees)
    for deviation in NOISES:
        noise = torch.randn(images.shape, generator=generator).to(images.device)
        noisy = _as_bytes(images + 255 * deviation * noise)
        yield f"Gaussian noise, deviation {deviation:g}", noisy
    yield "inverted", 255 - images


def _shifted(images: Tensor, pixels: int) -> Tensor:
    result = torch.zeros_like(images)
    inner, outer, every = slice(pixels, None), slice(None, -pixels), slice(None)
    for turn, (rows, columns, from_rows, from_columns) in enumerate(
        [
            (outer, every, inner, every),
            (inner, every, outer, every),
            (every, outer, every, inner),
            (every, inner, every, outer),
        ]
    ):
        result[turn::4, ..., rows, columns] = images[turn::4, ..., from_rows, from_columns]
    return result


def _rotated(images: Tensor, degrees: float) -> Tensor:
    count, device = len(images), images.device
    angles = torch.deg2rad(torch.full((count,), float(degrees), device=device))
    angles[1::2] *= -1
    zeros, ones = torch.zeros(count, device=device), torch.ones(count, device=device)
    rotated = warp(
        images.float().view(count, -1, *images.shape[-2:]),
        angles=angles,
        shifts=torch.zeros(2, count, device=device),
        scales=ones,
        shears=zeros,
        interpolation="bilinear",
        fill=0,
    )
    return _as_bytes(rotated).view(images.shape)


def _as_bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


def _highest(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return each image's highest probability, and its class."""
    highest = predict(network, images).softmax(dim=1).max(dim=1)
    return highest.values, highest.indices
