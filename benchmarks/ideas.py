"""Ideas that params.yaml cannot express, to be compared with it by architectures.py.

Each is a network of PyTorch's own layers within the budget, or a change of the training loop. What
wins here may become part of the package; the rest stays a row in architectures.md.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import torch.nn.functional as F
from common import DATA, ROOT
from torch import Tensor, nn

from mnist12k.cnn import fit as loop
from mnist12k.cnn.augment import augment
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.network import for_images, new_network, to_unit_range
from mnist12k.cnn.settings import Recipe, Train
from mnist12k.digits.dataset import Digits, load_training_digits, split
from mnist12k.files import atomic_write
from mnist12k.params import load_params
from mnist12k.paths import CHECKPOINTS, PARAMS

TEACHER = ROOT / CHECKPOINTS / "teacher.pt"  # logits of the training images
TEMPERATURE, SHARE = 3.0, 0.7  # of the teacher's labels, and their share of the loss


class Scaled(nn.Module):
    """Images minus the mean, divided by the deviation."""

    def __init__(self, settings: Train) -> None:
        super().__init__()
        self.mean, self.deviation = settings.architecture.mean, settings.architecture.deviation

    def forward(self, images: Tensor) -> Tensor:
        """Scale the images."""
        return (images - self.mean) / self.deviation


class SqueezeAndExcite(nn.Module):
    """A factor per map, from the means of all maps (Hu et al., 2018)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(channels, hidden), nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the maps."""
        factors = torch.sigmoid(self.up(F.relu(self.down(x.mean(dim=(2, 3))))))
        return x * factors[:, :, None, None]


class Mean(nn.Module):
    """The mean of each map."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, c) for maps of shape (n, c, h, w)."""
        return x.mean(dim=(2, 3))


def block(
    before: int,
    after: int,
    *,
    padding: int = 1,
    pool: bool = False,
    stride: int = 1,
    activation: Callable[[], nn.Module] = nn.ReLU,
    squeeze: int = 0,
    separable: bool = False,
    dropout: float = 0.03,
) -> list[nn.Module]:
    """Return the layers of one block."""
    layers: list[nn.Module] = []
    if separable:
        layers += [nn.Conv2d(before, before, 3, padding=padding, groups=before)]
        layers += [nn.BatchNorm2d(before), activation(), nn.Conv2d(before, after, 1)]
    else:
        layers += [nn.Conv2d(before, after, 3, stride=stride, padding=padding)]
    layers += [nn.BatchNorm2d(after), *([nn.MaxPool2d(2)] if pool else []), activation()]
    layers += [SqueezeAndExcite(after, squeeze)] if squeeze else []
    return [*layers, nn.Dropout(dropout)]


def network_of(blocks: list[list[nn.Module]], head: list[nn.Module], settings: Train) -> nn.Module:
    """Return the network for these settings."""
    return nn.Sequential(Scaled(settings), *(layer for each in blocks for layer in each), *head)


def reference_like(settings: Train, **changes: Any) -> nn.Module:
    """Return the reference network with every block changed."""
    blocks = [
        *(block(1, 8, **changes), block(8, 8, **changes), block(8, 8, pool=True, **changes)),
        block(8, 16, **changes),
        block(16, 16, padding=0, pool=True, **changes),
        block(16, 32, padding=0, **changes),
    ]
    return network_of(blocks, [nn.Conv2d(32, 10, 3), Mean()], settings)


def squeezed(settings: Train) -> nn.Module:
    """Return the reference network with squeeze-and-excite, and a head that pays for it."""
    blocks = [
        *(block(1, 8), block(8, 8), block(8, 8, pool=True, squeeze=2)),
        *(block(8, 16), block(16, 16, padding=0, pool=True, squeeze=4)),
        block(16, 29, padding=0, squeeze=4),
    ]
    return network_of(blocks, [nn.Conv2d(29, 10, 3), Mean()], settings)


def separable(settings: Train) -> nn.Module:
    """Return depthwise-separable blocks with more channels (Howard et al., 2017)."""
    blocks = [
        *(block(1, 12), block(12, 24, separable=True), block(24, 24, pool=True, separable=True)),
        *(block(24, 40, separable=True), block(40, 48, pool=True, separable=True)),
        *(block(48, 56, separable=True), block(56, 41, separable=True)),
    ]
    return network_of(blocks, [Mean(), nn.Linear(41, 10)], settings)


def strided(settings: Train) -> nn.Module:
    """Return the reference network with strides in the place of max-pools."""
    blocks = [
        *(block(1, 8), block(8, 8), block(8, 8, stride=2)),
        *(block(8, 16), block(16, 16, stride=2), block(16, 32, padding=0)),
    ]
    return network_of(blocks, [nn.Conv2d(32, 10, 3), Mean()], settings)


def cutout(images: Tensor, recipe: Recipe, generator: torch.Generator, side: int = 7) -> Tensor:
    """Augment, then empty a square of each image (DeVries and Taylor, 2017)."""
    images = augment(images, recipe, generator)
    shape, device = (2, len(images), 1), images.device
    corners = torch.randint(0, images.shape[-1] - side, shape, generator=generator, device=device)
    place = torch.arange(images.shape[-1], device=device)
    rows, columns = ((place >= corner) & (place < corner + side) for corner in corners)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def elastic(
    images: Tensor, recipe: Recipe, generator: torch.Generator, strength: float = 0.06
) -> Tensor:
    """Augment, then shift pixels by smooth random fields (Simard et al., 2003)."""
    images = augment(images, recipe, generator)
    side, device = images.shape[-1], images.device
    coarse = torch.empty(len(images), 2, 5, 5, device=device).uniform_(-1, 1, generator=generator)
    field = F.interpolate(coarse, side, mode="bicubic", align_corners=True)
    centres = (2 * torch.arange(side, device=device) + 1) / side - 1
    grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)
    return F.grid_sample(images, grid + strength * field.permute(0, 2, 3, 1), align_corners=False)


def teacher_logits(device: torch.device) -> Tensor:
    """Return the logits of a larger network on all training images; train it the first time.

    It sees the same 55,000 training images as its pupils, so the hold-out set stays unseen.
    """
    if TEACHER.is_file():
        logits: Tensor = torch.load(TEACHER, weights_only=True, map_location=device)
        return logits
    best = load_params(ROOT / PARAMS).training("reference", "best")
    blocks = tuple(
        each.model_copy(update={"channels": 3 * each.channels}) for each in best.architecture.blocks
    )
    layers = best.architecture.model_copy(update={"blocks": blocks})
    own = {"dropout": 0.1, "seed": 1, "cuda_graph": device.type == "cuda"}
    settings = best.model_copy(update=own | {"architecture": layers})
    digits = load_training_digits(DATA, layers)
    settings = for_images(settings, digits.images)
    network = new_network(settings, device)
    loop.fit(network, *split(digits, settings.validation_size), settings)
    with torch.no_grad():
        images = digits.images.to(device).split(1000)
        parts = [network.eval()(to_unit_range(part)) for part in images]
    logits = torch.cat(parts)
    with atomic_write(TEACHER) as temporary:
        torch.save(logits, temporary)
    return logits


@contextmanager
def taught(training: Digits) -> Iterator[Digits]:
    """Replace the loss by one with the teacher's labels (Hinton et al., 2015).

    The labels that are passed to the loss are the images' numbers.
    """
    of_all = teacher_logits(training.labels.device)
    held_out = len(of_all) - len(training.labels)
    logits, _ = split(Digits(of_all, torch.arange(len(of_all))), held_out)
    soft, labels = (logits.images / TEMPERATURE).softmax(dim=1), training.labels

    def loss(logits: Tensor, numbers: Tensor, label_smoothing: float) -> Tensor:
        own = F.cross_entropy(logits, labels[numbers], label_smoothing=label_smoothing)
        log_probabilities = (logits / TEMPERATURE).log_softmax(dim=1)
        from_teacher = F.kl_div(log_probabilities, soft[numbers], reduction="batchmean")
        return (1 - SHARE) * own + SHARE * TEMPERATURE**2 * from_teacher

    with patch.object(loop, "F", SimpleNamespace(cross_entropy=loss)):
        yield Digits(training.images, torch.arange(len(labels), device=labels.device))


@contextmanager
def augmented(by: Callable[..., Tensor], training: Digits) -> Iterator[Digits]:
    """Replace the augmentation."""
    with patch.object(loop, "augment", by):
        yield training


class Lookahead(torch.optim.SGD):
    """SGD whose weights return half-way to slow ones every five steps (Zhang et al., 2019)."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step; every fifth, move the slow weights half-way, and continue from them."""
        result = super().step(closure)
        parameters = self.param_groups[0]["params"]
        if not hasattr(self, "steps"):
            self.steps = torch.zeros((), device=parameters[0].device)
            self.slow = [parameter.clone() for parameter in parameters]
        self.steps.add_(1)  # a tensor, for a CUDA graph
        fifth = (self.steps % 5 == 0).float()
        torch._foreach_lerp_(self.slow, parameters, [fifth / 2] * len(parameters))
        torch._foreach_lerp_(parameters, self.slow, [fifth] * len(parameters))
        return result


@contextmanager
def looking_ahead(training: Digits) -> Iterator[Digits]:
    """Replace the optimizer."""
    with patch.object(torch.optim, "SGD", Lookahead):
        yield training


@torch.no_grad()
def recompute_statistics(network: nn.Module, training: Digits) -> None:
    """Replace the averaged statistics of batch norm by those of the averaged weights."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
    network.train()
    for number, images in enumerate(training.images.split(1000)):
        for norm in norms:
            norm.momentum = 1 / (number + 1)  # the mean over all batches
        network(to_unit_range(images))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


class Idea(NamedTuple):
    """A network for the settings, if not theirs; a change of the loop; and what follows it."""

    network: Callable[[Train], nn.Module] | None = None
    change: Callable[[Digits], Any] | None = None
    afterwards: Callable[[nn.Module, Digits], None] | None = None


IDEAS = {
    "squeeze-and-excite": Idea(squeezed),
    "depthwise-separable": Idea(separable),
    "strides instead of max-pools": Idea(strided),
    "SiLU": Idea(partial(reference_like, activation=nn.SiLU)),
    "GELU": Idea(partial(reference_like, activation=nn.GELU)),
    "cutout of 7x7": Idea(change=partial(augmented, cutout)),
    "elastic distortion": Idea(change=partial(augmented, elastic)),
    "a teacher's soft labels": Idea(change=taught),
    "lookahead": Idea(change=looking_ahead),
    "statistics of the averaged weights": Idea(afterwards=recompute_statistics),
}


def fit_idea(
    name: str, settings: Train, training: Digits, validation: Digits, device: torch.device
) -> tuple[nn.Module, list[Epoch]]:
    """Train by an idea, or by the settings alone if the name is none.

    Returns the network and the history.
    """
    idea = IDEAS.get(name, Idea())
    if idea.network is None:
        network: nn.Module = new_network(settings, device)
    else:
        torch.manual_seed(settings.seed)
        network = idea.network(settings).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with ExitStack() as stack:
        seen = training if idea.change is None else stack.enter_context(idea.change(training))
        history = loop.fit(network, seen, validation, settings)
    if idea.afterwards is not None:
        idea.afterwards(network, training)
    return network, history
