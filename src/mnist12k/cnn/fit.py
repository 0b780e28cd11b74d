"""The training loop."""

import math
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist12k.cnn.augment import augment
from mnist12k.cnn.average import in_place_of, put, share, update, weights_of
from mnist12k.cnn.checkpoint import Checkpoint
from mnist12k.cnn.cuda_graph import replayed
from mnist12k.cnn.evaluate import evaluate
from mnist12k.cnn.history import Epoch, Step
from mnist12k.cnn.network import drawing_from, to_unit_range
from mnist12k.cnn.schedules import learning_rate
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
    generator = torch.Generator(device).manual_seed(settings.seed)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
    weights = weights_of(network)
    average = [value.clone() for value in weights]
    history: list[Epoch] = []
    if checkpoint is not None and checkpoint.state is not None:
        network.load_state_dict(checkpoint.state["network"])
        put(checkpoint.state["average"], average)
        optimizer.load_state_dict(checkpoint.state["optimizer"])
        generator.set_state(checkpoint.state["generator"])
        history = checkpoint.history()
    keep_freed_memory()

    loss_sum = torch.zeros((), device=device)
    correct = torch.zeros((), device=device)

    def take_step(chosen: Tensor, rate: float | Tensor, fraction: float | Tensor) -> Tensor:
        """Learn from the chosen images, and return their mean loss."""
        labels = training.labels[chosen]
        images = augment(to_unit_range(training.images[chosen]), settings, generator)
        logits = network(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        update(average, weights, fraction)

        loss_sum.add_(loss.detach() * len(chosen))
        correct.add_((logits.detach().argmax(dim=1) == labels).sum())
        return loss.detach()

    step_once = replayed(take_step, [generator])

    with drawing_from(generator, network):
        for epoch in range(len(history) + 1, settings.epochs + 1):
            started = time.perf_counter()
            network.train()
            loss_sum.zero_()
            correct.zero_()
            order = torch.randperm(count, generator=generator, device=device)
            for step, chosen in enumerate(order.split(settings.batch_size), start=1):
                steps_before = (epoch - 1) * steps_per_epoch + step - 1
                rate = learning_rate(settings, steps_before, steps_per_epoch)
                loss = step_once(chosen, rate, share(settings.average, steps_before))
                if on_step is not None:
                    on_step(Step(epoch, step, rate, loss))

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
                        "generator": generator.get_state(),
                        "history": [tuple(epoch) for epoch in history],
                    }
                )
            on_epoch(history[-1])
    put(average, weights)
    return history


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
