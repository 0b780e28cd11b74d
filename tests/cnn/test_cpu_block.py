"""Training on a CPU computes what PyTorch's own layers do."""

import copy

import pytest
import torch
import torch.nn.functional as F
from networks import SMALL, reference
from torch import Tensor, nn

from mnist12k.cnn import cpu_block
from mnist12k.cnn.architecture import Architecture
from mnist12k.cnn.network import Block, Network

BLOCKS = [(name, index) for name in SMALL for index in range(len(SMALL[name].blocks))]


def random_block(layers: Architecture, index: int) -> Block:
    torch.manual_seed(1)
    block = Network(layers).double().to(memory_format=torch.channels_last).blocks[index]
    assert isinstance(block, Block)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            for p in module.parameters():
                nn.init.normal_(p)  # slopes of both signs: a max-pool must come after them
    return block.train()


def in_pytorch(block: Block, x: Tensor, source: Tensor | None = None) -> Tensor:
    x = block.norm(block.conv(x))
    if source is not None:
        x = x + (block.projection(source) if block.projection else source)
    x = F.relu(x)
    return x if block.pool is None else block.pool(x)


@pytest.mark.parametrize(("name", "index"), BLOCKS)
@pytest.mark.parametrize("count", [64, 3, 1])
def test_a_block_gives_the_values_gradients_and_statistics_of_pytorchs_layers(
    name: str, index: int, count: int
) -> None:
    layers = SMALL[name]
    shapes = [shape for shape in (layers.shapes()[index], layers.shortcut(index)) if shape]
    ours = random_block(layers, index)
    theirs = copy.deepcopy(ours)
    images = [torch.randn(count, c, side, side, dtype=torch.float64) for c, side in shapes]
    inputs = [[image.clone().requires_grad_() for image in images] for _ in range(2)]
    outputs = [ours(*inputs[0]), in_pytorch(theirs, *inputs[1])]
    torch.testing.assert_close(*outputs)
    weights = torch.randn_like(outputs[0])
    for output in outputs:
        (output * weights).sum().backward()
    for one, two in zip(*inputs, strict=True):
        torch.testing.assert_close(one.grad, two.grad)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)
    torch.testing.assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()))


def test_batch_norms_gradients_are_those_of_finite_differences() -> None:
    norm = nn.BatchNorm2d(3).double()
    torch.manual_seed(1)
    x = torch.randn(4, 3, 2, 5, dtype=torch.float64, requires_grad=True)
    of_channels = torch.randn(3, 3, dtype=torch.float64, requires_grad=True).unbind()

    def normed(x: Tensor, weight: Tensor, bias: Tensor, left_out: Tensor) -> Tensor:
        result: Tensor = cpu_block.BatchNorm.apply(x, weight, bias, norm, left_out)
        return result

    assert torch.autograd.gradcheck(normed, (x, *of_channels))


@pytest.mark.parametrize("rate", [1e-4, 0.03, 0.5, 0.99])
def test_zeros_fall_at_their_rate_independently_and_to_the_last_value(rate: float) -> None:
    generator = torch.Generator().manual_seed(1)
    ones = torch.ones(50, 8, 10, 10).to(memory_format=torch.channels_last)
    zero = torch.stack([cpu_block.drop_(ones.clone(), rate, generator) == 0 for _ in range(100)])
    error = 4 * (rate * (1 - rate) / zero.numel()) ** 0.5  # four standard errors
    assert zero.double().mean().item() == pytest.approx(rate, abs=error)
    at_the_ends = zero.permute(0, 1, 3, 4, 2).reshape(100, -1)[:, [*range(20), *range(-20, 0)]]
    error = 4 * (rate * (1 - rate) / at_the_ends.numel()) ** 0.5
    assert at_the_ends.double().mean().item() == pytest.approx(rate, abs=max(error, 0.002))


def test_zeros_do_not_run_out_when_the_first_draws_fall_short() -> None:
    x = torch.ones(1, 1, 1, 3)
    rows = [
        cpu_block.drop_(x.clone(), 0.9, torch.Generator().manual_seed(seed)).flatten().tolist()
        for seed in range(2000)
    ]
    fraction = sum(row.count(0) for row in rows) / 6000
    assert fraction == pytest.approx(0.9, abs=4 * (0.09 / 6000) ** 0.5)


def test_evaluation_is_of_the_whole_network_that_was_trained() -> None:
    """The convolutions' biases, left out in training, are in the running means."""
    torch.manual_seed(1)
    network = reference().double().train()
    images = torch.rand(32, 1, 28, 28, dtype=torch.float64)
    for block in network.blocks:
        assert isinstance(block, Block)
        block.norm.momentum = 1.0  # the statistics of the one batch
        nn.init.normal_(block.conv.bias)  # type: ignore[arg-type]
    logits = network(images)
    torch.testing.assert_close(network.eval()(images), logits, rtol=0.05, atol=0.05)
