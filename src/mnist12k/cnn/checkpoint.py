"""What a training needs to resume after its process has died: one file, replaced every epoch."""

import sys
from pathlib import Path
from typing import Any

import torch

from mnist12k.cnn.history import Epoch
from mnist12k.files import atomic_write

State = dict[str, Any]
KEYS = {"fingerprint", "network", "average", "optimizer", "generator", "history"}


class Checkpoint:
    """The state of one training, identified by its `fingerprint`, in a file.

    The file is read once, here. If it is damaged or of another training, it is set aside, and the
    training starts over.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.state: State | None = None
        if path.is_file():
            try:
                self.state = self._read()
            except Exception as error:  # a broken file leads torch.load to any of them
                self.set_aside(error)

    def history(self) -> list[Epoch]:
        """Return the completed epochs."""
        return [Epoch(*epoch) for epoch in self.state["history"]] if self.state else []

    def set_aside(self, error: Exception) -> None:
        """Rename the file to `*.bad`, forget its content, and print why."""
        self.state = None
        reason = " ".join((str(error) or type(error).__name__).split())[:200]
        renamed = self.path.replace(self.path.with_suffix(".bad"))
        print(
            f"{self.path} is unusable ({reason}); renamed to {renamed.name}; training starts over",
            file=sys.stderr,
        )

    def save(self, state: State) -> None:
        """Replace the file."""
        with atomic_write(self.path) as temporary:
            torch.save({"fingerprint": self.fingerprint, **state}, temporary)

    def remove(self) -> None:
        """Delete the file, once the training is complete."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> State:
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or set(state) != KEYS:
            raise ValueError("not a checkpoint")
        if state["fingerprint"] != self.fingerprint:
            raise ValueError(f"of another training: {state['fingerprint']}")
        numbers = [Epoch(*epoch).epoch for epoch in state["history"]]
        if numbers != list(range(1, len(numbers) + 1)):
            raise ValueError(f"of the epochs {numbers}")
        return state
