"""Many networks trained side by side as one, in about as many operations as one of them takes.

A step of one network leaves a large accelerator idle. Here the channels of M networks lie next to
each other, (n, M * c, h, w): a convolution has a group for each network, batch norm and pooling
work channel by channel anyway, and the sum of the losses gives each network its own gradient. On a
CPU, which one network keeps busy, this does not pay.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist12k.cnn.augment import moves, warp
from mnist12k.cnn.average import share
from mnist12k.cnn.cuda_graph import replayed
from mnist12k.cnn.fit import keep_freed_memory
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.network import LAYERS, MEAN, STD, Block, Dropout, Network, drawing_from
from mnist12k.cnn.schedules import learning_rate
from mnist12k.digits.dataset import Digits
from mnist12k.errors import UserError
from mnist12k.params import Train

SHARED = ("epochs", "batch_size", "validation_size", "interpolation")
LAYOUT = torch.channels_last  # of the joined channels
PARAMETERS = 4 * len(LAYERS) + 2  # tensors a network: four a block, two of the head


def fit_fused(
    networks: Sequence[Network],
    training: Digits,
    validation: Digits,
    settings: Sequence[Train],
    on_epoch: Callable[[int, Epoch], None] = lambda _model, _epoch: None,
) -> list[list[Epoch]]:
    """Train M networks in place on their device, each by its own settings; return their histories.

    Each ends as `fit` on one thread would leave it, but for the order of float32 sums: it draws the
    same numbers, from a generator of its own. What `SHARED` names must be the same for all models,
    or this raises UserError. `on_epoch` hears of each model, by its number from 0, and its epoch,
    whose seconds are those of all models together. The networks are written to at the end only.

    A model whose loss is no longer finite stops nobody, not even itself: where `fit` would raise,
    its history shows losses that are NaN or infinite. Its numbers stay in its own channels.
    """
    require_agreement(settings)
    models, epochs, batch_size = len(networks), settings[0].epochs, settings[0].batch_size
    device = next(networks[0].parameters()).device
    training, validation = training.to(device), validation.to(device)
    count, held_out = len(training.labels), len(validation.labels)
    steps_per_epoch = math.ceil(count / batch_size)
    generators = [torch.Generator(device).manual_seed(own.seed) for own in settings]
    dropouts = dropouts_of(networks)
    keep_freed_memory()

    # Every tensor of every model lies in one vector, which a few operations update as a whole.
    joined = [torch.cat(same) for same in zip(*map(tensors_of, networks), strict=True)]
    weights = torch.cat([tensor.flatten() for tensor in joined])
    average = weights.clone()
    parts, average_parts = parts_of(weights, joined), parts_of(average, joined)
    parameters = [part.requires_grad_() for part in parts[:PARAMETERS]]
    trained = weights[: sum(part.numel() for part in parameters)]
    velocity = torch.zeros_like(trained)
    numbers = torch.arange(models, device=device)
    owner = torch.cat([numbers.repeat_interleave(part.numel() // models) for part in parts])
    trained_owner = owner[: len(trained)]

    def tensor(values: Sequence[float] | Sequence[Sequence[float]]) -> Tensor:
        return torch.tensor(values, dtype=weights.dtype, device=device)

    momentum = tensor([own.momentum for own in settings])[trained_owner]
    nesterov = tensor([own.nesterov for own in settings])[trained_owner] > 0
    weight_decay = tensor([own.weight_decay for own in settings])[trained_owner]
    smoothing = tensor([own.label_smoothing for own in settings])
    ranges = tensor([[s.rotation, s.shift, s.scale, s.shear, s.fill / 255] for s in settings])
    histories: list[list[Epoch]] = [[] for _ in settings]
    sums = torch.zeros(2, models, device=device)

    def take_step(chosen: Tensor, rate: Tensor, part: Tensor) -> Tensor:
        """Learn from the chosen images, of shape (n, M); return losses and right answers."""
        images = training.images[chosen].float() / 255
        images = augment_each(images, settings, ranges, generators)
        logits = forward(parts, images, dropouts)
        found = loss_and_right(logits, training.labels[chosen], smoothing)
        gradients = torch.autograd.grad(found[0].sum() / len(chosen), parameters)
        gradient = torch.cat([own.flatten() for own in gradients])
        sums.add_(found.detach())

        # The rule of torch.optim.SGD.
        gradient.addcmul_(trained, weight_decay)
        velocity.mul_(momentum).add_(gradient)
        ahead = gradient.addcmul_(velocity, momentum)
        direction = torch.where(nesterov, ahead, velocity)
        trained.addcmul_(direction, rate[trained_owner], value=-1)
        average.lerp_(weights, part[owner])
        return found.detach()

    step_once = replayed(take_step, generators)

    with ExitStack() as stack:
        for network, generator in zip(networks, generators, strict=True):
            stack.enter_context(drawing_from(generator, network.train()))
        for epoch in range(1, epochs + 1):
            started = time.perf_counter()
            steps = range((epoch - 1) * steps_per_epoch, epoch * steps_per_epoch)
            rates = [[learning_rate(own, s, steps_per_epoch) for own in settings] for s in steps]
            shares = [[share(own.average, s) for own in settings] for s in steps]
            orders = [torch.randperm(count, generator=own, device=device) for own in generators]
            batches = torch.stack(orders, dim=1).split(batch_size)
            sums.zero_()
            for values in zip(batches, tensor(rates), tensor(shares), strict=True):
                step_once(*values)

            measured = evaluate_each(average_parts, models, validation, batch_size)
            figures = torch.cat([sums, measured]).T.tolist()  # here alone it waits for the device
            seconds = time.perf_counter() - started
            for model, (loss, right, validation_loss, validation_right) in enumerate(figures):
                record = Epoch(
                    epoch,
                    rates[-1][model],
                    train_loss=loss / count,
                    train_accuracy=right / count,
                    validation_loss=validation_loss / held_out if held_out else None,
                    validation_accuracy=validation_right / held_out if held_out else None,
                    seconds=seconds,
                )
                histories[model].append(record)
                on_epoch(model, record)
    write_back(average_parts, networks, epochs * steps_per_epoch)
    return histories


def require_agreement(settings: Sequence[Train]) -> None:
    """Raise UserError unless all models agree in what `SHARED` names."""
    for name in SHARED:
        values = sorted({getattr(own, name) for own in settings})
        if len(values) > 1:
            listed = ", ".join(str(value) for value in values)
            raise UserError(f"{name} = {listed}: models that are trained as one must agree in it")


def tensors_of(network: Network) -> list[Tensor]:
    """Return the parameters, four a block and the head's two; then the two statistics a block."""
    statistics = [value for value in network.buffers() if value.is_floating_point()]
    return [*(parameter.detach() for parameter in network.parameters()), *statistics]


def parts_of(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return views of a vector, one after the other, in the shapes of `like`."""
    pieces = vector.split([tensor.numel() for tensor in like])
    return [piece.view(tensor.shape) for piece, tensor in zip(pieces, like, strict=True)]


def dropouts_of(networks: Sequence[Network]) -> list[list[Dropout]]:
    """Return for each block every network's dropout."""
    blocks = [[block for block in own.modules() if isinstance(block, Block)] for own in networks]
    return [[block.dropout for block in same] for same in zip(*blocks, strict=True)]


def augment_each(
    images: Tensor, settings: Sequence[Train], ranges: Tensor, generators: Sequence[torch.Generator]
) -> Tensor:
    """Do to images of shape (n, M, 28, 28), a model a column, what `augment` does for each model.

    `ranges` of shape (M, 5) are their rotations, shifts, scales, shears, and fills in [0, 1].
    """
    moving = [moves(own) for own in settings]
    if not any(moving):
        return images
    n, models, h, w = images.shape
    draws = torch.zeros(models, 5, n, device=images.device)
    for model, generator in enumerate(generators):
        if moving[model]:
            draws[model].uniform_(-1, 1, generator=generator)
    draws = draws.permute(1, 2, 0)
    rotation, shift, scale, shear, fill = ranges.float().unbind(dim=1)
    fill = fill.view(1, models, 1, 1)
    moved = warp(
        (images - fill).view(n * models, 1, h, w),
        angles=torch.deg2rad(draws[0] * rotation).flatten(),
        shifts=(draws[1:3] * shift).flatten(1),
        scales=(1 + draws[3] * scale).flatten(),
        shears=torch.deg2rad(draws[4] * shear).flatten(),
        interpolation=settings[0].interpolation,
        fill=0,
    )
    # Where nothing is to move, warping would still round.
    anywhere = (ranges[:, :4] > 0).any(dim=1).view(1, models, 1, 1)
    return torch.where(anywhere, moved.view(n, models, h, w) + fill, images)


def forward(
    parts: Sequence[Tensor], images: Tensor, dropouts: Sequence[Sequence[Dropout]] = ()
) -> Tensor:
    """Map images of shape (n, M, 28, 28) to logits of shape (n, M, 10).

    `parts` are the networks' tensors as `tensors_of` lists them, the first axes of all models
    joined: a kernel is (M * out, in, 3, 3), a bias (M * out,). With `dropouts` it is in training.
    """
    n, models = images.shape[:2]
    statistics = parts[PARAMETERS:]
    x = (images.to(parts[0].dtype, memory_format=LAYOUT) - MEAN) / STD
    for number, layer in enumerate(LAYERS):
        kernel, bias, slope, offset = parts[4 * number : 4 * number + 4]
        mean, variance = statistics[2 * number : 2 * number + 2]
        x = F.conv2d(x, kernel, bias, padding=layer.padding, groups=models)
        x = F.relu(F.batch_norm(x, mean, variance, slope, offset, training=bool(dropouts)))
        if layer.pool:
            x = F.max_pool2d(x, 2)
        if dropouts:
            x = dropped(x, dropouts[number])
    kernel, bias = parts[PARAMETERS - 2 : PARAMETERS]
    return F.conv2d(x, kernel, bias, groups=models).mean(dim=(2, 3)).view(n, models, 10)


def dropped(x: Tensor, dropouts: Sequence[Dropout]) -> Tensor:
    """Drop from each model's channels of `x`, (n, M * c, h, w), what its own dropout would."""
    if not any(own.rate for own in dropouts):
        return x
    n, channels, h, w = x.shape
    ones = x.new_ones(n, channels // len(dropouts), h, w).to(memory_format=torch.channels_last)
    return x * torch.cat([own(ones) for own in dropouts], dim=1)


def loss_and_right(logits: Tensor, labels: Tensor, smoothing: Tensor) -> Tensor:
    """Return, of shape (2, M), each model's summed cross-entropy and its right answers.

    Logits are of shape (n, M, 10), labels (n, M), label smoothing (M,).
    """
    logs = logits.log_softmax(dim=2)
    of_label = logs.gather(2, labels.unsqueeze(2)).squeeze(2)
    losses = (smoothing - 1) * of_label - smoothing * logs.mean(dim=2)
    right = (logits.argmax(dim=2) == labels).sum(dim=0)
    return torch.stack([losses.sum(dim=0), right])


@torch.no_grad()
def evaluate_each(parts: Sequence[Tensor], models: int, digits: Digits, batch_size: int) -> Tensor:
    """Return what `loss_and_right` finds in all of `digits`, without label smoothing."""
    sums = torch.zeros(2, models, device=digits.labels.device)
    for images, labels in zip(*(values.split(batch_size) for values in digits), strict=True):
        images = (images.unsqueeze(1).float() / 255).expand(-1, models, -1, -1)
        labels = labels.unsqueeze(1).expand(-1, models)
        sums += loss_and_right(forward(parts, images), labels, torch.zeros_like(sums[0]))
    return sums


@torch.no_grad()
def write_back(parts: Sequence[Tensor], networks: Sequence[Network], steps: int) -> None:
    """Give each network its share of the joined tensors, and of batches as many as it saw."""
    for part, *same in zip(parts, *map(tensors_of, networks), strict=True):
        torch._foreach_copy_(same, part.chunk(len(networks)))
    for network in networks:
        for value in network.buffers():
            if not value.is_floating_point():
                value.add_(steps)
