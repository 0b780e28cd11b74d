"""What a person sees of a training while it runs."""

from typing import Any

from tqdm import tqdm

from mnist12k.cnn.history import Epoch, Step


class Progress:
    """One bar an epoch on a terminal, and one line an epoch everywhere."""

    def __init__(self, epochs: int, steps: int) -> None:
        self.epochs = epochs
        self.steps = steps
        self.bar: tqdm[Any] | None = None

    def step_ended(self, step: Step) -> None:
        """Move the epoch's bar."""
        bar = self.bar
        if bar is None:
            bar = self.bar = tqdm(total=self.steps, desc=f"epoch {step.epoch}", leave=False)
        if bar.update():  # as often as it is drawn: reading a loss waits for the device
            bar.set_postfix(loss=f"{step.loss.item():.4f}", lr=f"{step.learning_rate:g}")

    def epoch_ended(self, epoch: Epoch) -> None:
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
        print(f"{line}  {epoch.seconds:.1f} s", flush=True)
