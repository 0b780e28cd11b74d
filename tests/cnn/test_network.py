import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import LOADED, REFERENCE, SMALL, architecture, reference
from project import ROOT
from ruamel.yaml import YAML
from torch import Tensor

from mnist12k.cnn.network import (
    Dropout,
    Network,
    dropout_generator,
    new_network,
    parameter_count,
    to_unit_range,
)
from mnist12k.params import Params
from mnist12k.report.figures.model_summary import summarise, trace

# The layer table of the course write-up that this network comes from.
PUBLISHED_TABLE = """
Conv2d-1 [-1, 8, 28, 28] 80
BatchNorm2d-2 [-1, 8, 28, 28] 16
Dropout-3 [-1, 8, 28, 28] 0
Conv2d-4 [-1, 8, 28, 28] 584
BatchNorm2d-5 [-1, 8, 28, 28] 16
Dropout-6 [-1, 8, 28, 28] 0
Conv2d-7 [-1, 8, 28, 28] 584
BatchNorm2d-8 [-1, 8, 28, 28] 16
MaxPool2d-9 [-1, 8, 14, 14] 0
Dropout-10 [-1, 8, 14, 14] 0
Conv2d-11 [-1, 16, 14, 14] 1,168
BatchNorm2d-12 [-1, 16, 14, 14] 32
Dropout-13 [-1, 16, 14, 14] 0
Conv2d-14 [-1, 16, 12, 12] 2,320
BatchNorm2d-15 [-1, 16, 12, 12] 32
MaxPool2d-16 [-1, 16, 6, 6] 0
Dropout-17 [-1, 16, 6, 6] 0
Conv2d-18 [-1, 32, 4, 4] 4,640
BatchNorm2d-19 [-1, 32, 4, 4] 64
Dropout-20 [-1, 32, 4, 4] 0
Conv2d-21 [-1, 10, 2, 2] 2,890
Total params: 12,442
Trainable params: 12,442
Non-trainable params: 0
Input size (MB): 0.00
Forward/backward pass size (MB): 0.53
Params size (MB): 0.05
Estimated Total Size (MB): 0.58
"""


def test_the_reference_network_has_12442_parameters() -> None:
    assert parameter_count(reference()) == REFERENCE.parameters() == 12_442


@pytest.mark.parametrize("name", SMALL)
def test_an_architecture_predicts_parameters_and_shapes_of_its_network(name: str) -> None:
    layers = SMALL[name]
    network = Network(layers).eval()
    assert parameter_count(network) == layers.parameters()
    entered: list[tuple[int, ...]] = []
    for block in network.blocks:
        block.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0].shape[1:]))
    assert network(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    expected = [(channels, side, side) for channels, side in layers.shapes()[:-1]]
    assert [tuple(shape) for shape in entered] == expected


def test_a_shortcut_adds_what_entered_that_many_blocks_earlier() -> None:
    network = Network(SMALL["shortcuts"]).eval()
    images = torch.rand(2, 1, 28, 28)
    maps = [(images - 0.1307) / 0.3081]

    def normed(layers: Any, x: Tensor) -> Any:
        return layers.norm(layers.conv(x))

    one, two, three, four, five = network.blocks
    maps.append(F.max_pool2d(normed(one, maps[0]).relu(), 2))
    maps.append(normed(two, maps[1]).relu())
    maps.append((normed(three, maps[2]) + maps[1]).relu())
    maps.append((normed(four, maps[3]) + maps[3]).relu())
    maps.append(F.max_pool2d((normed(five, maps[4]) + normed(five.projection, maps[1])).relu(), 2))
    expected = network.head(maps[5].mean(dim=(2, 3)))
    torch.testing.assert_close(network(images), expected)


def test_the_page_on_networks_has_their_figures_and_an_example_within_the_budget() -> None:
    text = (ROOT / "docs/networks.md").read_text(encoding="utf-8")
    for name in LOADED.networks:
        layers = LOADED.architecture(name)
        rows = trace(Network(layers))
        kept = sum(math.prod(row.shape) for row in rows if row.kind == "Conv2d")
        multiply_adds = sum(row.multiply_adds for row in rows)
        assert f"| `{name}` | {layers.parameters():,} | {multiply_adds:,} | {kept:,} |" in text
    example = YAML(typ="safe").load(text.rpartition("```yaml\n")[2].partition("```")[0])
    assert (
        architecture(*example["networks"]["mine"]["blocks"], kind="dense", units=8).parameters()
        < 12_442
    )


def test_the_layer_table_is_the_published_one_digit_for_digit() -> None:
    ours = [" ".join(line.split()) for line in summarise(reference(0.1)).splitlines()]
    published = PUBLISHED_TABLE.strip().splitlines()
    assert [line for line in ours if line in published] == published


def test_the_receptive_field_grows_as_computed_by_hand() -> None:
    rows = trace(reference())
    convolutions = [row.receptive_field for row in rows if row.kind == "Conv2d"]
    assert convolutions == [3, 5, 7, 12, 16, 26, 34]


def test_a_pixel_outside_the_receptive_field_changes_nothing() -> None:
    network = reference().eval()
    for p in network.parameters():
        p.data.abs_()  # positive throughout: no ReLU hides what is seen
    field = trace(network)[5].receptive_field  # after the second block
    image = torch.rand(1, 1, 28, 28, requires_grad=True)
    network.blocks[1](network.blocks[0](image))[0, :, 14, 14].sum().backward()
    assert image.grad is not None
    seen = image.grad[0, 0].nonzero()
    assert (seen.max(dim=0).values - seen.min(dim=0).values + 1).max() <= field


def test_tracing_leaves_the_network_as_it_was() -> None:
    network = reference().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trace(network)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_logits_are_the_mean_of_the_head_over_its_four_places() -> None:
    network = reference().eval()
    images = torch.rand(3, 1, 28, 28)
    features = (images - 0.1307) / 0.3081
    for block in network.blocks:
        features = block(features)
    weight, bias = network.head.parameters()
    by_hand = F.conv2d(features, weight, bias)
    torch.testing.assert_close(network(images), by_hand.flatten(2).mean(dim=2))


def test_grey_levels_become_zero_to_one() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1)
    assert to_unit_range(images).flatten().tolist() == [0, torch.tensor(0.2).item(), 1]


def test_a_seed_gives_one_network_whatever_was_drawn_before(params: Params) -> None:
    cpu, settings = torch.device("cpu"), params.train
    torch.manual_seed(5)
    first = new_network(settings, cpu).state_dict()
    torch.rand(10)
    second = new_network(settings, cpu).state_dict()
    other = new_network(settings.model_copy(update={"seed": 8}), cpu).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_drops_at_its_rate_and_keeps_the_mean(rate: float) -> None:
    x = torch.ones(4, 8, 160, 161).to(memory_format=torch.channels_last)
    y = Dropout(rate).train()(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    dropped = (y == 0).float().mean().item()
    error = 4 * (rate * (1 - rate) / x.numel()) ** 0.5  # four standard errors
    assert dropped == pytest.approx(rate, abs=error)
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - rate)))


def test_dropout_treats_neighbours_independently() -> None:
    dropped = (Dropout(0.5).train()(torch.ones(1, 1, 1000, 1000)) == 0).flatten().float()
    for distance in (1, 2, 3, 4, 8, 1000):
        pairs = torch.stack([dropped[:-distance], dropped[distance:]])
        assert abs(torch.corrcoef(pairs)[0, 1].item()) < 0.005


def test_dropouts_gradient_passes_where_its_values_did() -> None:
    x = torch.ones(2, 3, 4, 5, requires_grad=True)
    y = Dropout(0.5).train()(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_dropout_draws_from_the_generator_it_is_given_and_rests_in_evaluation() -> None:
    network, images = reference(0.5), torch.rand(2, 1, 28, 28)
    outputs = []
    for _ in range(2):
        with dropout_generator(network, torch.Generator().manual_seed(5)):
            outputs.append(network.train()(images))
        torch.rand(3)
    assert torch.equal(*outputs)
    network.eval()
    assert torch.equal(network(images), network(images))
