"""Augmentation of a whole batch at once, on whatever device it is."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def rotate(images: Tensor, degrees: float, fill: float, generator: torch.Generator) -> Tensor:
    """Rotate each image about its centre by its own angle, uniform in [-degrees, degrees].

    `images` is float of shape (n, 1, h, w). Pixels are taken from their nearest neighbour, and
    what turns in from outside is `fill`: torchvision's RandomRotation at its defaults.
    """
    if degrees == 0:
        return images
    angles = torch.empty(len(images), device=images.device)
    angles.uniform_(-math.radians(degrees), math.radians(degrees), generator=generator)
    return rotated(images, angles, fill)


def rotated(images: Tensor, angles: Tensor, fill: float) -> Tensor:
    """Rotate (n, 1, h, w) images counter-clockwise by (n,) angles in radians."""
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    maps = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    # grid_sample's outside is 0: shift the grey levels so that 0 stands for `fill`.
    return F.grid_sample(images - fill, grid, mode="nearest", align_corners=False) + fill
