"""The training loop."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist12k.cnn.augment import rotate
from mnist12k.cnn.evaluate import evaluate
from mnist12k.cnn.network import to_unit_range
from mnist12k.cnn.schedules import step_learning_rate
from mnist12k.digits.dataset import Digits
from mnist12k.params import Train


class Epoch(NamedTuple):
    """One epoch's record; accuracies in [0, 1], losses per image, validation None without one."""

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float


class Step(NamedTuple):
    """One update's record: its number within the epoch from 1, and the batch's mean loss."""

    epoch: int
    step: int
    learning_rate: float
    loss: Tensor


def fit(
    network: nn.Module,
    training: Digits,
    validation: Digits,
    settings: Train,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    on_step: Callable[[Step], None] | None = None,
) -> list[Epoch]:
    """Train `network` in place on its own device, and return the history.

    `training` is what it learns from; `validation`, perhaps empty, is measured after each epoch.
    `on_epoch` hears of every epoch as it ends, `on_step` of every update.
    """
    device = next(network.parameters()).device
    training, validation = training.to(device), validation.to(device)
    # Order and rotations have a generator of their own; dropout can only draw from the global one.
    torch.manual_seed(settings.seed)
    generator = torch.Generator(device).manual_seed(settings.seed)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=settings.learning_rate, momentum=settings.momentum
    )

    history = []
    for epoch in range(1, settings.epochs + 1):
        started = time.perf_counter()
        rate = step_learning_rate(epoch, settings.learning_rate, settings.step_size, settings.gamma)
        for group in optimizer.param_groups:
            group["lr"] = rate

        network.train()
        loss_sum = torch.zeros((), device=device)
        correct = torch.zeros((), device=device)
        order = torch.randperm(len(training.labels), generator=generator, device=device)
        for step, chosen in enumerate(order.split(settings.batch_size), start=1):
            images = to_unit_range(training.images[chosen])
            images = rotate(images, settings.rotation, settings.fill / 255, generator)
            labels = training.labels[chosen]

            logits = network(images)
            loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

            loss_sum += loss.detach() * len(labels)
            correct += (logits.argmax(dim=1) == labels).sum()
            if on_step is not None:
                on_step(Step(epoch, step, rate, loss.detach()))

        measured = evaluate(network, validation) if len(validation.labels) else None
        count = len(training.labels)
        history.append(
            Epoch(
                epoch,
                rate,
                train_loss=loss_sum.item() / count,
                train_accuracy=correct.item() / count,
                validation_loss=measured.loss if measured else None,
                validation_accuracy=measured.accuracy if measured else None,
                seconds=time.perf_counter() - started,
            )
        )
        on_epoch(history[-1])
    return history
