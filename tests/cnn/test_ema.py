import torch
from networks import reference

from mnist12k.cnn.ema import averaged_tensors, copy, swapped_in, update, update_fraction


def test_the_average_is_the_one_computed_by_hand() -> None:
    average, weights = [torch.tensor([1.0])], [torch.tensor([3.0])]
    update(average, weights, update_fraction(decay=0.9, step=1000))
    torch.testing.assert_close(average[0], torch.tensor([0.9 * 1 + 0.1 * 3]))


def test_early_on_less_of_the_average_stays() -> None:
    average, weights = [torch.tensor([1.0])], [torch.tensor([3.0])]
    update(average, weights, update_fraction(decay=0.9, step=0))
    torch.testing.assert_close(average[0], torch.tensor([0.1 * 1 + 0.9 * 3]))


def test_without_a_decay_the_average_is_the_weights_bit_for_bit() -> None:
    weights = [torch.randn(1000)]
    average = [torch.randn(1000)]
    update(average, weights, update_fraction(decay=0, step=5))
    assert torch.equal(average[0], weights[0])


def test_a_fraction_on_the_device_moves_it_as_far() -> None:
    weights, start = [torch.randn(1000)], torch.randn(1000)
    average, by_tensor = [start.clone()], [start.clone()]
    update(average, weights, 0.25)
    update(by_tensor, weights, torch.tensor(0.25))
    torch.testing.assert_close(by_tensor, average)


def test_the_statistics_of_batch_norm_are_averaged_too() -> None:
    network = reference()
    shapes = [tuple(value.shape) for value in averaged_tensors(network)]
    assert len(shapes) == 14 + 6 * 4  # convolutions, and of each batch norm two of either kind


def test_in_place_of_the_weights_while_the_block_runs_and_no_longer() -> None:
    network = reference()
    weights = averaged_tensors(network)
    before = [value.clone() for value in weights]
    with swapped_in([torch.ones_like(value) for value in weights], weights):
        assert all((p == 1).all() for p in network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(averaged_tensors(network), before, strict=True))


def test_values_that_are_put_are_the_networks() -> None:
    network = reference()
    copy(
        [torch.full_like(value, 2) for value in averaged_tensors(network)],
        averaged_tensors(network),
    )
    assert all((p == 2).all() for p in network.head.parameters())
