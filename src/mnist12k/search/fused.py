"""Many networks trained as one, in about as many operations as a single network takes.

A step of one network leaves a large accelerator mostly idle, unlike a CPU. The channels of M
networks are concatenated, (n, M * c, h, w): a convolution gets one group per network, batch norm
and pooling work per channel, and the gradient of the summed losses is that of each network's loss.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist12k.cnn.architecture import Architecture
from mnist12k.cnn.augment import augments, warp
from mnist12k.cnn.cuda_graph import replayed
from mnist12k.cnn.ema import update_fraction
from mnist12k.cnn.fit import keep_freed_memory
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.network import Dropout, Network, dropout_generator, to_unit_range
from mnist12k.cnn.schedules import learning_rate
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import Digits
from mnist12k.errors import UserError

COMMON = ("epochs", "batch_size", "validation_size", "interpolation")  # settings of all models
LAYOUT = torch.channels_last  # of the concatenated channels
ALIGNMENT = 64  # values: a GPU's kernels read several at once, from aligned addresses only


def fit_fused(
    networks: Sequence[Network],
    training: Digits,
    validation: Digits,
    settings: Sequence[Train],
    on_epoch: Callable[[int, Epoch], None] = lambda _model, _epoch: None,
) -> list[list[Epoch]]:
    """Train M networks of one architecture in place on their device, and return their histories.

    Each network has its own settings and generator, and ends as `fit` on one thread would leave
    it, except for the order of float32 sums. `on_epoch` is called with each model's index and
    epoch, whose seconds are those of all models together. The networks are written at the end.

    A model whose loss is not finite does not affect the others: where `fit` would raise, it trains
    on, and its history has losses that are NaN or infinite.

    Raises UserError if the settings named in `COMMON` differ between models.
    """
    for name in COMMON:
        values = sorted({getattr(each, name) for each in settings})
        if len(values) > 1:
            listed = ", ".join(map(str, values))
            raise UserError(f"{name} = {listed}: models trained as one must agree in it")
    models, epochs, batch_size = len(networks), settings[0].epochs, settings[0].batch_size
    architecture = networks[0].architecture
    device = next(networks[0].parameters()).device
    training, validation = training.to(device), validation.to(device)
    count = len(training.labels)
    sizes = [count, count, len(validation.labels), len(validation.labels)]
    steps_per_epoch = math.ceil(count / batch_size)
    generators = [torch.Generator(device).manual_seed(each.seed) for each in settings]
    dropouts = [[m for m in each.modules() if isinstance(m, Dropout)] for each in networks]
    keep_freed_memory()

    # All tensors of all models are views of one vector, which a few operations update at once.
    joined = [torch.cat(same) for same in zip(*map(tensors_of, networks), strict=True)]
    weights = torch.cat([padded(tensor) for tensor in joined])
    average = weights.clone()
    views, average_views = views_of(weights, joined), views_of(average, joined)
    parameters = [view.requires_grad_() for view in views[: len([*networks[0].parameters()])]]
    trained = weights[: sum(len(padded(parameter)) for parameter in parameters)]
    velocity, gradient = torch.zeros_like(trained), torch.zeros_like(trained)
    gradient_views = views_of(gradient, parameters)
    indices = torch.arange(models, device=device)
    model_of = torch.cat([padded(indices.repeat_interleave(v.numel() // models)) for v in views])
    model_of_trained = model_of[: len(trained)]

    def tensor(values: Sequence[float] | Sequence[Sequence[float]]) -> Tensor:
        return torch.tensor(values, dtype=weights.dtype, device=device)

    momentum = tensor([each.momentum for each in settings])[model_of_trained]
    nesterov = tensor([each.nesterov for each in settings])[model_of_trained] > 0
    weight_decay = tensor([each.weight_decay for each in settings])[model_of_trained]
    smoothing = tensor([each.label_smoothing for each in settings])
    ranges = tensor([[s.rotation, s.shift, s.scale, s.shear, s.fill / 255] for s in settings])
    histories: list[list[Epoch]] = [[] for _ in settings]
    sums = torch.zeros(2, models, device=device)

    def take_step(chosen: Tensor, rates: Tensor, fractions: Tensor) -> Tensor:
        """Update all models on their chosen images, (n, M); return `loss_and_correct`."""
        images = training.images[chosen].flatten(1, -3).float() / 255  # (n, M * channels, h, w)
        images = augment_each(images, settings, ranges, generators)
        logits = forward(architecture, views, images, dropouts)
        result = loss_and_correct(logits, training.labels[chosen], smoothing)
        gradients = torch.autograd.grad(result[0].sum() / len(chosen), parameters)
        torch._foreach_copy_(gradient_views, gradients)
        sums.add_(result.detach())

        # The update rule of torch.optim.SGD.
        gradient.addcmul_(trained, weight_decay)
        velocity.mul_(momentum).add_(gradient)
        direction = torch.where(nesterov, gradient.addcmul_(velocity, momentum), velocity)
        trained.addcmul_(direction, rates[model_of_trained], value=-1)
        average.lerp_(weights, fractions[model_of])
        return result.detach()

    step_once = replayed(take_step, generators) if settings[0].cuda_graph else take_step

    with ExitStack() as stack:
        for network, generator in zip(networks, generators, strict=True):
            stack.enter_context(dropout_generator(network.train(), generator))
        for epoch in range(1, epochs + 1):
            started = time.perf_counter()
            steps = range((epoch - 1) * steps_per_epoch, epoch * steps_per_epoch)
            rates = [[learning_rate(each, s, steps_per_epoch) for each in settings] for s in steps]
            fractions = [[update_fraction(each.ema_decay, s) for each in settings] for s in steps]
            orders = [torch.randperm(count, generator=each, device=device) for each in generators]
            batches = torch.stack(orders, dim=1).split(batch_size)
            sums.zero_()
            for inputs in zip(batches, tensor(rates), tensor(fractions), strict=True):
                step_once(*inputs)

            scores = evaluate_each(architecture, average_views, models, validation, batch_size)
            figures = torch.cat([sums, scores]).T.tolist()  # only here: it waits for the device
            seconds = time.perf_counter() - started
            for model, totals in enumerate(figures):
                means = [t / size if size else None for t, size in zip(totals, sizes, strict=True)]
                histories[model].append(Epoch._make([epoch, rates[-1][model], *means, seconds]))
                on_epoch(model, histories[model][-1])
    write_back(average_views, networks, epochs * steps_per_epoch)
    return histories


def tensors_of(network: Network) -> list[Tensor]:
    """Return the network's parameters, then its batch-norm statistics, both in their order."""
    statistics = [value for value in network.buffers() if value.is_floating_point()]
    return [*(parameter.detach() for parameter in network.parameters()), *statistics]


def padded(tensor: Tensor) -> Tensor:
    """Return the tensor as a vector, with zeros up to a multiple of ALIGNMENT."""
    return F.pad(tensor.flatten(), (0, -tensor.numel() % ALIGNMENT))


def views_of(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return views with the shapes of `like` of a vector of padded tensors."""
    pieces = vector.split([len(padded(tensor)) for tensor in like])
    return [
        piece[: tensor.numel()].view(tensor.shape)
        for piece, tensor in zip(pieces, like, strict=True)
    ]


def augment_each(
    images: Tensor, settings: Sequence[Train], ranges: Tensor, generators: Sequence[torch.Generator]
) -> Tensor:
    """Augment images of shape (n, M * channels, h, w), those of each model as `augment` would.

    `ranges`, of shape (M, 5), are their rotations, shifts, scales, shears, and fills in [0, 1].
    """
    if not any(map(augments, settings)):
        return images
    n, planes, h, w = images.shape
    models = len(settings)
    images = images.view(n, models, -1, w)
    draws = torch.zeros(models, 5, n, device=images.device)
    for model, generator in enumerate(generators):
        if augments(settings[model]):
            draws[model].uniform_(-1, 1, generator=generator)
    draws = draws.permute(1, 2, 0)
    rotation, shift, scale, shear, fill = ranges.float().unbind(dim=1)
    fill = fill.view(1, models, 1, 1)
    warped = warp(
        (images - fill).view(n * models, planes // models, h, w),
        angles=torch.deg2rad(draws[0] * rotation).flatten(),
        shifts=(draws[1:3] * shift).flatten(1),
        scales=(1 + draws[3] * scale).flatten(),
        shears=torch.deg2rad(draws[4] * shear).flatten(),
        interpolation=settings[0].interpolation,
        fill=0,
    )
    # Warping an image by nothing still rounds its values.
    is_augmented = (ranges[:, :4] > 0).any(dim=1).view(1, models, 1, 1)
    result = torch.where(is_augmented, warped.view(images.shape) + fill, images)
    return result.view(n, planes, h, w)


def forward(
    architecture: Architecture,
    tensors: Sequence[Tensor],
    images: Tensor,
    dropouts: Sequence[Sequence[Dropout]] = (),
) -> Tensor:
    """Map images of shape (n, M * channels, side, side) to logits of shape (n, M, classes).

    `tensors` are in the order of `tensors_of`, concatenated over the models: a kernel has shape
    (M * out, in, k, k). With `dropouts`, one per model and block, the models are in training mode.
    """
    models, blocks = images.shape[1] // architecture.channels, architecture.blocks
    norms = len(blocks) + sum(block.projection for block in blocks)
    parameters, statistics = iter(tensors[: -2 * norms]), iter(tensors[-2 * norms :])

    def convolve_and_norm(x: Tensor, padding: int = 0) -> Tensor:
        kernel, bias, scale, shift = islice(parameters, 4)
        mean, variance = islice(statistics, 2)
        x = F.conv2d(x, kernel, bias, padding=padding, groups=models)
        return F.batch_norm(x, mean, variance, scale, shift, training=bool(dropouts))

    images = images.to(tensors[0].dtype, memory_format=LAYOUT)
    x = (images - architecture.mean) / architecture.deviation
    entered = []
    for number, block in enumerate(blocks):
        entered.append(x)
        x = convolve_and_norm(x, block.padding)
        if block.residual:
            source = entered[-block.residual]
            x = x + (convolve_and_norm(source) if block.projection else source)
        x = F.relu(x)
        if block.pool:
            x = F.max_pool2d(x, 2)
        if any(each[number].rate for each in dropouts):
            ones = torch.ones_like(x[:, : block.channels], memory_format=torch.channels_last)
            x = x * torch.cat([each[number](ones) for each in dropouts], dim=1)
    return apply_head(
        architecture, list(parameters), x.unflatten(1, (models, x.shape[1] // models))
    )


def apply_head(architecture: Architecture, parameters: Sequence[Tensor], x: Tensor) -> Tensor:
    """Map the last block's maps, of shape (n, M, c, h, w), to logits of shape (n, M, classes)."""
    n, models = x.shape[:2]
    if architecture.head.kind == "convolution":
        kernel, bias = parameters
        logits = F.conv2d(x.flatten(1, 2), kernel, bias, groups=models).mean(dim=(2, 3))
        return logits.view(n, models, len(architecture.classes))
    x = x.mean(dim=(3, 4)) if architecture.head.kind == "average" else x.flatten(2)
    for number, (weight, bias) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
        x = x if number == 0 else F.relu(x)
        products = torch.einsum("nmi,moi->nmo", x, weight.unflatten(0, (models, -1)))
        x = products + bias.view(models, -1)
    return x


def loss_and_correct(logits: Tensor, labels: Tensor, smoothing: Tensor) -> Tensor:
    """Return each model's summed cross-entropy and its number of correct predictions, (2, M).

    Logits are of shape (n, M, classes), labels (n, M), label smoothing (M,).
    """
    log_probabilities = logits.log_softmax(dim=2)
    of_label = log_probabilities.gather(2, labels.unsqueeze(2)).squeeze(2)
    losses = (smoothing - 1) * of_label - smoothing * log_probabilities.mean(dim=2)
    correct = (logits.argmax(dim=2) == labels).sum(dim=0)
    return torch.stack([losses.sum(dim=0), correct])


@torch.no_grad()
def evaluate_each(
    architecture: Architecture,
    tensors: Sequence[Tensor],
    models: int,
    digits: Digits,
    batch_size: int,
) -> Tensor:
    """Return `loss_and_correct` over all `digits`, without label smoothing."""
    sums = torch.zeros(2, models, device=digits.labels.device)
    for images, labels in zip(*(values.split(batch_size) for values in digits), strict=True):
        images = to_unit_range(images).repeat(1, models, 1, 1)
        labels = labels.unsqueeze(1).expand(-1, models)
        logits = forward(architecture, tensors, images)
        sums += loss_and_correct(logits, labels, torch.zeros_like(sums[0]))
    return sums


@torch.no_grad()
def write_back(tensors: Sequence[Tensor], networks: Sequence[Network], steps: int) -> None:
    """Copy each network's part of the tensors into it, and count its batches."""
    for tensor, *same in zip(tensors, *map(tensors_of, networks), strict=True):
        torch._foreach_copy_(same, tensor.chunk(len(networks)))
    for network in networks:
        for value in network.buffers():
            if not value.is_floating_point():
                value.add_(steps)
