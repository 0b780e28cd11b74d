"""What a training needs to go on after its process has died: one file, replaced every epoch."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from mnist12k.cnn.history import Epoch
from mnist12k.files import written_whole

State = dict[str, Any]
KEYS = {"fingerprint", "network", "average", "optimizer", "generator", "history"}


class Checkpoint:
    """The state of one training, known by its `fingerprint`, in a file.

    The file is read once, here. One that is damaged, or holds another training, is renamed to
    `*.bad`, and `problem` says so; the training then starts over.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.state: State | None = None
        self.problem: str | None = None
        if path.is_file():
            try:
                self.state = self._read()
            except (UnpicklingError, EOFError, OSError, RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())[:200]
                aside = path.replace(path.with_suffix(".bad"))
                self.problem = f"{path} is of no use ({reason}) and now called {aside.name}"

    def history(self) -> list[Epoch]:
        """Return the epochs that the file holds."""
        return [Epoch(*epoch) for epoch in self.state["history"]] if self.state else []

    def save(self, state: State) -> None:
        """Write `state` beside the file, and rename it into place."""
        with written_whole(self.path) as beside:
            torch.save({"fingerprint": self.fingerprint, **state}, beside)

    def remove(self) -> None:
        """Forget a training that has ended well."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> State:
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or set(state) != KEYS:
            raise ValueError("it is no checkpoint")
        if state["fingerprint"] != self.fingerprint:
            raise ValueError(f"it is of another training: {state['fingerprint']}")
        return state
