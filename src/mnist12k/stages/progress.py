"""The progress of a training on the terminal."""

from typing import Any

from tqdm import tqdm

from mnist12k.cnn.history import Epoch, Step
from mnist12k.signals import print_line


class Progress:
    """One progress bar per epoch on a terminal, and one line per epoch everywhere."""

    def __init__(self, epochs: int, steps: int) -> None:
        self.epochs = epochs
        self.steps = steps
        self.bar: tqdm[Any] | None = None

    def on_step(self, step: Step) -> None:
        """Advance the epoch's bar."""
        if self.bar is None:
            self.bar = tqdm(total=self.steps, desc=f"epoch {step.epoch}", leave=False)
        if self.bar.update():  # only when it is drawn: reading the loss waits for the device
            self.bar.set_postfix(loss=f"{step.loss.item():.4f}", lr=f"{step.learning_rate:g}")

    def on_epoch(self, epoch: Epoch) -> None:
        """Close the epoch's bar and print its line."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        line = (
            f"epoch {epoch.epoch:>{len(str(self.epochs))}}/{self.epochs}  "
            f"lr {epoch.learning_rate:.3g}  "
            f"train loss {epoch.train_loss:.4f}, accuracy {epoch.train_accuracy:.2%}"
        )
        if epoch.validation_accuracy is not None:
            line += (
                f"  validation loss {epoch.validation_loss:.4f}, "
                f"accuracy {epoch.validation_accuracy:.2%}"
            )
        print_line(f"{line}  {epoch.seconds:.1f} s")
