import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mnist12k.cnn.network import new_network, trained_by
from mnist12k.cnn.team import Team, team_of

CPU = torch.device("cpu")


def gradients(size: int, images: Tensor, labels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return loss and gradients of a team of `size`, and the running statistics after."""
    network = new_network(0, 1, CPU).double().train()
    generators = [torch.Generator()] * size

    def compute(chosen: Tensor, _thread: int) -> list[Tensor]:
        loss = F.cross_entropy(network(images[chosen]), labels[chosen], reduction="sum")
        return [loss.detach(), *torch.autograd.grad(loss, list(network.parameters()))]

    with team_of(size) as team, trained_by(network, team, generators):
        found = team.sum(compute, torch.arange(len(labels)))
    return found, list(network.buffers())


@pytest.mark.parametrize("count", [64, 33, 1])
def test_loss_gradients_and_statistics_are_those_of_one_thread(count: int) -> None:
    random = torch.Generator().manual_seed(1)
    images = torch.rand(count, 1, 28, 28, generator=random, dtype=torch.float64)
    labels = torch.randint(0, 10, (count,), generator=random)
    alone, statistics_alone = gradients(1, images, labels)
    shared, statistics_shared = gradients(2, images, labels)
    for one, two in zip(alone, shared, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-8)
    for one, two in zip(statistics_alone, statistics_shared, strict=True):
        torch.testing.assert_close(one, two)


def test_a_team_gives_the_same_bits_every_time() -> None:
    images, labels = torch.rand(64, 1, 28, 28, dtype=torch.float64), torch.randint(0, 10, (64,))
    first, _ = gradients(2, images, labels)
    second, _ = gradients(2, images, labels)
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


def test_an_error_in_one_thread_ends_the_step_and_is_the_one_that_is_raised() -> None:
    team = Team(2)

    def compute(_chosen: Tensor, thread: int) -> list[Tensor]:
        if thread == 0:
            raise ZeroDivisionError
        return [team.total(torch.ones(1))]

    with pytest.raises(ZeroDivisionError):
        team.sum(compute, torch.arange(4))
    team.pool.shutdown()


def test_pytorch_has_its_threads_back_afterwards() -> None:
    before = torch.get_num_threads()
    with team_of(2):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
