import math

import pytest
import torch
from torchvision.transforms import functional as pil

from mnist12k.cnn.augment import rotate, rotated
from mnist12k.cnn.network import to_unit_range
from mnist12k.digits.dataset import Digits


@pytest.mark.parametrize("degrees", [-7.0, -2.5, 0.0, 3.3, 7.0, 90.0])
def test_a_rotation_is_torchvisions_rotation_of_the_same_angle(
    small_training_digits: Digits, degrees: float
) -> None:
    images = small_training_digits.images[:20]
    angles = torch.full((len(images),), math.radians(degrees))
    ours = (rotated(to_unit_range(images), angles, fill=1 / 255) * 255).round()
    for image, turned in zip(images, ours, strict=True):
        theirs = pil.pil_to_tensor(pil.rotate(pil.to_pil_image(image), degrees, fill=[1]))
        different = (turned != theirs).float().mean().item()
        assert different < 0.01  # a source that falls on a pixel's edge may round either way


def test_angles_differ_from_image_to_image_and_stay_within_bounds() -> None:
    point = torch.zeros(200, 1, 29, 29)
    point[:, :, 14, 28] = 1  # a quarter turn is far outside the bounds
    turned = rotate(point, 10, 0, torch.Generator().manual_seed(1))
    rows = turned.sum(dim=3).argmax(dim=2).flatten()
    reach = math.ceil(14 * math.sin(math.radians(10)))
    assert (rows - 14).abs().max() <= reach
    assert len(rows.unique()) > 3


def test_the_same_generator_state_gives_the_same_rotations() -> None:
    images = torch.rand(8, 1, 28, 28)
    first = rotate(images, 7, 0, torch.Generator().manual_seed(3))
    second = rotate(images, 7, 0, torch.Generator().manual_seed(3))
    assert torch.equal(first, second)


def test_no_rotation_leaves_images_and_generator_alone() -> None:
    images = torch.rand(8, 1, 28, 28)
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    assert torch.equal(rotate(images, 0, 0, generator), images)
    assert torch.equal(generator.get_state(), before)
