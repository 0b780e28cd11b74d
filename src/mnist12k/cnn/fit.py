"""The training loop."""

import math
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist12k.cnn.augment import augment
from mnist12k.cnn.checkpoint import Checkpoint, State
from mnist12k.cnn.cuda_graph import replayed
from mnist12k.cnn.ema import Weights, averaged_tensors, copy, swapped_in, update, update_fraction
from mnist12k.cnn.evaluate import evaluate
from mnist12k.cnn.history import Epoch, Step
from mnist12k.cnn.network import dropout_generator, to_unit_range
from mnist12k.cnn.schedules import learning_rate
from mnist12k.cnn.settings import Train
from mnist12k.digits.dataset import Digits
from mnist12k.errors import UserError


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

    The network is evaluated on `validation`, which may be empty, after every epoch. Evaluated and
    finally kept is the moving average of its weights. `on_epoch` is called after every epoch,
    `on_step` after every update. With a `checkpoint`, training resumes from the last completed
    epoch and ends with the bits of an uninterrupted one.

    Raises UserError at the end of an epoch whose loss is not finite.
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
    weights = averaged_tensors(network)
    average = [value.clone() for value in weights]
    history = resume(checkpoint, network, average, optimizer, generator) if checkpoint else []
    keep_freed_memory()

    loss_sum = torch.zeros((), device=device)
    correct = torch.zeros((), device=device)

    def take_step(chosen: Tensor, rate: float | Tensor, fraction: float | Tensor) -> Tensor:
        """Update the weights on the chosen images, and return their mean loss."""
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

    step_once = replayed(take_step, [generator]) if settings.cuda_graph else take_step

    with dropout_generator(network, generator):
        for epoch in range(len(history) + 1, settings.epochs + 1):
            started = time.perf_counter()
            network.train()
            loss_sum.zero_()
            correct.zero_()
            order = torch.randperm(count, generator=generator, device=device)
            for step, chosen in enumerate(order.split(settings.batch_size), start=1):
                steps_before = (epoch - 1) * steps_per_epoch + step - 1
                rate = learning_rate(settings, steps_before, steps_per_epoch)
                fraction = update_fraction(settings.ema_decay, steps_before)
                loss = step_once(chosen, rate, fraction)
                if on_step is not None:
                    on_step(Step(epoch, step, rate, loss))

            # Only here: reading a value waits for the device.
            require_finite(loss_sum, epoch, rate)
            with swapped_in(average, weights):
                score = evaluate(network, validation) if len(validation.labels) else None
            history.append(
                Epoch(
                    epoch,
                    rate,
                    train_loss=loss_sum.item() / count,
                    train_accuracy=correct.item() / count,
                    validation_loss=score.loss if score else None,
                    validation_accuracy=score.accuracy if score else None,
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
    copy(average, weights)
    return history


def resume(
    checkpoint: Checkpoint,
    network: nn.Module,
    average: Weights,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> list[Epoch]:
    """Restore a checkpoint's state and return its history; set it aside if that fails."""

    def restore(state: State) -> None:
        network.load_state_dict(state["network"])
        copy(state["average"], average)
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        if not all(value.isfinite().all() for value in (*averaged_tensors(network), *average)):
            raise ValueError("a weight is not finite")

    if checkpoint.state is None:
        return []
    fresh = {
        "network": {name: value.clone() for name, value in network.state_dict().items()},
        "average": [value.clone() for value in average],
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
    }
    try:
        restore(checkpoint.state)
    except Exception as error:  # whatever a damaged state leads PyTorch to
        restore(fresh)
        checkpoint.set_aside(error)
    return checkpoint.history()


def require_finite(loss_sum: Tensor, epoch: int, rate: float) -> None:
    """Raise UserError if the epoch's loss is NaN or infinite."""
    if not loss_sum.isfinite():
        raise UserError(
            f"the loss is {loss_sum.item()} in epoch {epoch} at learning rate {rate:.3g}: "
            "training stopped. The learning rate is probably too high; "
            "try a third of it (`dvc exp run -S train.learning_rate=...`)"
        )


def keep_freed_memory() -> None:
    """Make glibc keep the memory that a step frees for the next one.

    Its threshold for returning memory adapts to the largest freed block, up to 32 MiB. Below the
    threshold a step costs thousands of page faults.
    """
    torch.empty((32 << 20) - 8192, dtype=torch.uint8)
