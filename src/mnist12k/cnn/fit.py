"""The training loop."""

import math
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist12k.cnn.augment import augment
from mnist12k.cnn.average import in_place_of, put, update, weights_of
from mnist12k.cnn.checkpoint import Checkpoint
from mnist12k.cnn.evaluate import evaluate
from mnist12k.cnn.history import Epoch, Step
from mnist12k.cnn.network import to_unit_range, trained_by
from mnist12k.cnn.schedules import learning_rate
from mnist12k.cnn.team import LARGEST, team_of
from mnist12k.digits.dataset import Digits
from mnist12k.errors import UserError
from mnist12k.params import Train


def fit(
    network: nn.Module,
    training: Digits,
    validation: Digits,
    settings: Train,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    on_step: Callable[[Step], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[Epoch]:
    """Train `network` in place on its own device, and return the history.

    `training` is what it learns from; `validation`, perhaps empty, is measured after each epoch.
    What is measured, and what `network` ends with, is the moving average of its weights.
    `on_epoch` hears of every epoch as it ends, `on_step` of every update. With a `checkpoint` the
    training goes on after the last epoch that it holds, and ends with the same bits.

    Raises UserError within the epoch in which the loss is no longer finite.
    """
    device = next(network.parameters()).device
    training, validation = training.to(device), validation.to(device)
    count = len(training.labels)
    steps_per_epoch = math.ceil(count / settings.batch_size)
    threads = min(torch.get_num_threads(), LARGEST) if device.type == "cpu" else 1
    generators = new_generators(settings.seed, threads, device)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
    parameters = list(network.parameters())
    weights = weights_of(network)
    average = [value.clone() for value in weights]
    history: list[Epoch] = []
    if checkpoint is not None and checkpoint.state is not None:
        network.load_state_dict(checkpoint.state["network"])
        put(checkpoint.state["average"], average)
        optimizer.load_state_dict(checkpoint.state["optimizer"])
        for generator, state in zip(generators, checkpoint.state["generators"], strict=True):
            generator.set_state(state)
        history = checkpoint.history()
    keep_freed_memory()

    def compute(chosen: Tensor, thread: int) -> list[Tensor]:
        """Return the sum of some images' losses, of right answers, and its gradients."""
        images = to_unit_range(training.images[chosen])
        labels = training.labels[chosen]
        logits = network(augment(images, settings, generators[thread]))
        loss = F.cross_entropy(
            logits, labels, label_smoothing=settings.label_smoothing, reduction="sum"
        )
        right = (logits.detach().argmax(dim=1) == labels).sum()
        return [loss.detach(), right, *torch.autograd.grad(loss, parameters)]

    with team_of(threads) as team, trained_by(network, team, generators):
        for epoch in range(len(history) + 1, settings.epochs + 1):
            started = time.perf_counter()
            network.train()
            loss_sum = torch.zeros((), device=device)
            correct = torch.zeros((), device=device)
            order = torch.randperm(count, generator=generators[0], device=device)
            for step, chosen in enumerate(order.split(settings.batch_size), start=1):
                steps_before = (epoch - 1) * steps_per_epoch + step - 1
                rate = learning_rate(settings, steps_before, steps_per_epoch)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                loss, right, *gradients = team.sum(compute, chosen)
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    # In its parameter's memory layout, which the fused optimizer relies on.
                    parameter.grad = torch.empty_like(parameter)
                    torch.div(gradient, len(chosen), out=parameter.grad)
                optimizer.step()
                update(average, weights, settings.average, steps_before)

                loss_sum += loss
                correct += right
                if on_step is not None:
                    on_step(Step(epoch, step, rate, loss / len(chosen)))

            # Here and no earlier: every look at a figure waits for the device.
            require_finite(loss_sum, epoch, rate)
            with in_place_of(weights, average):
                measured = evaluate(network, validation) if len(validation.labels) else None
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
            if checkpoint is not None:
                checkpoint.save(
                    {
                        "network": network.state_dict(),
                        "average": average,
                        "optimizer": optimizer.state_dict(),
                        "generators": [generator.get_state() for generator in generators],
                        "history": [tuple(epoch) for epoch in history],
                    }
                )
            on_epoch(history[-1])
    put(average, weights)
    return history


def new_generators(seed: int, count: int, device: torch.device) -> list[torch.Generator]:
    """Return generators of which the first is seeded, and the others from the first."""
    first = torch.Generator(device).manual_seed(seed)
    seeds = [int(torch.randint(2**62, (), generator=first)) for _ in range(count - 1)]
    return [first, *(torch.Generator(device).manual_seed(seed) for seed in seeds)]


def require_finite(loss_sum: Tensor, epoch: int, rate: float) -> None:
    """Raise UserError if the epoch's loss so far is NaN or infinite."""
    if not loss_sum.isfinite():
        raise UserError(
            f"the loss is {loss_sum.item()} in epoch {epoch} at learning rate {rate:.3g}: "
            "training stopped. The learning rate is probably too high; "
            "try a third of it (`dvc exp run -S train.learning_rate=...`)"
        )


def keep_freed_memory() -> None:
    """Let the C library keep what a step frees for the next one, rather than return it.

    Once a block of almost 32 MiB, the most that glibc adapts to, has been freed, smaller ones come
    from the heap. Otherwise a step takes thousands of page faults.
    """
    torch.empty((32 << 20) - 8192, dtype=torch.uint8)
