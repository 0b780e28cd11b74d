import math

import pytest
import torch
from networks import by_recipe
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as pil

from mnist12k.cnn.augment import augment, warp
from mnist12k.cnn.network import to_unit_range
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import Digits


def warped(
    images: Tensor,
    angle: float = 0,
    shift: tuple[float, float] = (0, 0),
    scale: float = 1,
    shear: float = 0,
    interpolation: str = "nearest",
    fill: float = 0,
) -> Tensor:
    """Warp every image alike; angle and shear in degrees."""
    count = len(images)
    return warp(
        images,
        angles=torch.full((count,), math.radians(angle)),
        shifts=torch.tensor(shift).view(2, 1).expand(2, count),
        scales=torch.full((count,), scale),
        shears=torch.full((count,), math.radians(shear)),
        interpolation=interpolation,
        fill=fill,
    )


@pytest.mark.parametrize("degrees", [-7.0, -2.5, 0.0, 3.3, 7.0, 90.0])
def test_a_rotation_is_torchvisions_rotation_of_the_same_angle(
    small_training_digits: Digits, degrees: float
) -> None:
    images = small_training_digits.images[:20]
    ours = (warped(to_unit_range(images), degrees, fill=1 / 255) * 255).round()
    for image, turned in zip(images, ours, strict=True):
        theirs = pil.pil_to_tensor(pil.rotate(pil.to_pil_image(image), degrees, fill=[1]))
        different = (turned != theirs).float().mean().item()
        assert different < 0.01  # a source that falls on a pixel's edge may round either way


@pytest.mark.parametrize(
    ("angle", "shift", "scale", "shear"),
    [
        (10.0, (0, 0), 1.0, 0.0),
        (0.0, (3, -2), 1.0, 0.0),
        (0.0, (0, 0), 1.15, 0.0),
        (0.0, (0, 0), 1.0, 20.0),
        (-12.0, (1, 4), 0.9, -8.0),
    ],
)
def test_a_bilinear_warp_is_torchvisions_affine(
    small_training_digits: Digits,
    angle: float,
    shift: tuple[int, int],
    scale: float,
    shear: float,
) -> None:
    images = to_unit_range(small_training_digits.images[:20])
    right, down = shift
    ours = warped(images, angle, (right / 28, down / 28), scale, shear, "bilinear")
    theirs = pil.affine(
        images,
        -angle,  # clockwise there
        [right, down],
        scale,
        [shear, 0.0],
        interpolation=InterpolationMode.BILINEAR,
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_a_bilinear_warp_blends_into_the_fill() -> None:
    white = torch.ones(1, 1, 28, 28)
    moved = warped(white, shift=(0.5 / 28, 0), interpolation="bilinear", fill=0.5)
    assert moved[0, 0, 5, 0].item() == pytest.approx(0.75, abs=1e-5)
    assert moved[0, 0, 5, 1].item() == pytest.approx(1, abs=1e-5)


def test_draws_differ_from_image_to_image_and_stay_within_bounds() -> None:
    recipe = no_augmentation(rotation=10)
    point = torch.zeros(200, 1, 29, 29)
    point[:, :, 14, 28] = 1  # a quarter turn is far outside the bounds
    turned = augment(point, recipe, torch.Generator().manual_seed(1))
    rows = turned.sum(dim=3).argmax(dim=2).flatten()
    reach = math.ceil(14 * math.sin(math.radians(10)))
    assert (rows - 14).abs().max() <= reach
    assert len(rows.unique()) > 3


@pytest.mark.parametrize("name", ["rotation", "shift", "scale", "shear"])
def test_each_part_of_the_augmentation_changes_images(name: str) -> None:
    images = torch.rand(8, 1, 28, 28)
    recipe = no_augmentation(**{name: 0.5})
    changed = augment(images, recipe, torch.Generator().manual_seed(3))
    assert (changed != images).flatten(1).any(dim=1).all()


def test_the_same_generator_state_gives_the_same_images() -> None:
    images = torch.rand(8, 1, 28, 28)
    recipe = by_recipe("best", 1, 0)
    first = augment(images, recipe, torch.Generator().manual_seed(3))
    second = augment(images, recipe, torch.Generator().manual_seed(3))
    assert torch.equal(first, second)


def test_no_augmentation_leaves_images_and_generator_alone() -> None:
    images = torch.rand(8, 1, 28, 28)
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    assert torch.equal(augment(images, no_augmentation(), generator), images)
    assert torch.equal(generator.get_state(), before)


def no_augmentation(**changes: float) -> Train:
    off = {"rotation": 0, "shift": 0, "scale": 0, "shear": 0}
    return by_recipe("best", 1, 0, **off | changes)
