import pytest
import torch
from networks import reference

from mnist12k.digits.dataset import Digits
from mnist12k.export.robustness import changes, measure_images, measure_noise


@pytest.fixture
def digits() -> Digits:
    images = torch.zeros(8, 28, 28, dtype=torch.uint8)
    images[:, 10:18, 12:16] = 200
    return Digits(images, torch.arange(8))


def test_a_shift_moves_all_ink_that_far_in_four_directions(digits: Digits) -> None:
    shifted = dict(changes(digits.images))["shifted by 3 px"]
    moved = [(-3, 0), (3, 0), (0, -3), (0, 3)] * 2
    for image, (down, right) in zip(shifted, moved, strict=True):
        assert torch.equal(image, digits.images[0].roll((down, right), (0, 1)))


def test_a_rotation_goes_either_way_and_keeps_the_ink(digits: Digits) -> None:
    one_way, other_way = dict(changes(digits.images))["rotated by 45°"][:2].float()
    assert one_way.sum().item() == pytest.approx(digits.images[0].sum().item(), rel=0.05)
    assert (one_way - other_way.flip(1)).abs().max() <= 1
    assert not torch.equal(one_way, other_way)


def test_every_change_gives_images_and_the_same_ones_each_time(digits: Digits) -> None:
    once, again = dict(changes(digits.images)), dict(changes(digits.images))
    assert torch.equal(once["none"], digits.images)
    assert torch.equal(once["inverted"], 255 - digits.images)
    for name, images in once.items():
        assert images.dtype == torch.uint8
        assert torch.equal(images, again[name])


def test_what_is_measured_are_counts_and_probabilities(digits: Digits) -> None:
    torch.manual_seed(0)
    network = reference().eval()
    for condition in measure_images(network, digits):
        assert 0 <= condition.correct <= condition.total == 8
        assert 0.1 <= condition.confidence <= 1
    empty, *_, noise = measure_noise(network, torch.device("cpu"), count=5)
    assert (empty.total, noise.total) == (1, 5)
    assert 0.1 <= noise.confidence <= 1
