import io
import sys
from typing import cast

import pytest
from torch import Tensor

from mnist12k.cnn.history import Step
from mnist12k.signals import print_line
from mnist12k.stages.progress import Progress


class CountedLoss:
    """A loss that counts how often somebody waits for its value."""

    def __init__(self) -> None:
        self.reads = 0

    def item(self) -> float:
        self.reads += 1
        return 0.5


def test_the_bar_shows_losses_and_reads_one_only_when_it_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = io.StringIO()
    monkeypatch.setattr(sys, "stderr", drawn)
    now = 0.0
    monkeypatch.setattr("tqdm.std.time", lambda: now)
    progress = Progress(epochs=1, steps=1000)
    loss = CountedLoss()
    for step in range(1, 1001):
        now += 0.001  # a second in all, in which a bar is drawn ten times at most
        progress.on_step(Step(1, step, 0.1, cast(Tensor, loss)))
    assert 1 <= loss.reads <= 10
    assert "loss=0.5000, lr=0.1" in drawn.getvalue()


def test_a_line_reaches_unbuffered_output_in_one_piece_which_ctrl_c_cannot_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Pieces(io.StringIO):
        def __init__(self) -> None:
            super().__init__()
            self.pieces: list[str] = []

        def write(self, text: str) -> int:
            self.pieces.append(text)
            return super().write(text)

    output = Pieces()
    monkeypatch.setattr(sys, "stdout", output)
    print_line("trial 4 complete")
    assert [piece for piece in output.pieces if piece] == ["trial 4 complete\n"]
