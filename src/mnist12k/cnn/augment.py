"""Augmentation of a whole batch at once, on any device."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist12k.cnn.settings import Recipe


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Rotate, shift, scale and shear each image by its own draw, uniform in the recipe's ranges.

    `images` is float of shape (n, channels, h, h) in [0, 1].
    """
    if not augments(recipe):
        return images
    draws = torch.empty(5, len(images), device=images.device).uniform_(-1, 1, generator=generator)
    return warp(
        images,
        angles=torch.deg2rad(draws[0] * recipe.rotation),
        shifts=draws[1:3] * recipe.shift,
        scales=1 + draws[3] * recipe.scale,
        shears=torch.deg2rad(draws[4] * recipe.shear),
        interpolation=recipe.interpolation,
        fill=recipe.fill / 255,
    )


def augments(recipe: Recipe) -> bool:
    """Return whether a recipe changes images at all."""
    return bool(recipe.rotation or recipe.shift or recipe.scale or recipe.shear)


def warp(
    images: Tensor,
    angles: Tensor,
    shifts: Tensor,
    scales: Tensor,
    shears: Tensor,
    interpolation: str,
    fill: float,
) -> Tensor:
    """Shear, scale and rotate square images, (n, channels, h, h), about their centre, then shift.

    `angles` (counter-clockwise) and `shears` (along x) are radians of shape (n,), `scales` factors
    of shape (n,), `shifts` fractions of the side of shape (2, n), to the right and down. Pixels
    from outside the image are `fill`. As torchvision's `affine`, with one draw per image.
    """
    cos, sin = angles.cos(), angles.sin()
    # The inverse map: where each output pixel comes from, in units of half a side.
    x_to_x = (cos + sin * shears.tan()) / scales
    y_to_x = (cos * shears.tan() - sin) / scales
    x_to_y, y_to_y = sin / scales, cos / scales
    right, down = 2 * shifts
    centres = (2 * torch.arange(images.shape[-1], device=images.device) + 1) / images.shape[-1] - 1
    grid = torch.stack(
        [
            outer_sum(x_to_x, y_to_x, -(x_to_x * right + y_to_x * down), centres),
            outer_sum(x_to_y, y_to_y, -(x_to_y * right + y_to_y * down), centres),
        ],
        dim=3,
    )
    # grid_sample pads with 0: shift the grey levels so that 0 stands for `fill`.
    return F.grid_sample(images - fill, grid, mode=interpolation, align_corners=False) + fill


def outer_sum(by_x: Tensor, by_y: Tensor, constant: Tensor, centres: Tensor) -> Tensor:
    """Return by_x * x + by_y * y + constant, each of shape (n,), at all centres: (n, y, x)."""
    along_x = by_x.unsqueeze(1) * centres
    along_y = by_y.unsqueeze(1) * centres + constant.unsqueeze(1)
    return along_x.unsqueeze(1) + along_y.unsqueeze(2)
