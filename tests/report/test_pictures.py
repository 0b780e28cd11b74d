from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as sklearns

from mnist12k.cnn.history import Epoch
from mnist12k.report.confusion import confusion_matrix, draw_confusion, draw_mistakes
from mnist12k.report.curves import draw_curves

DIGITS = st.integers(0, 9)


def history(*, validated: bool) -> list[Epoch]:
    loss, accuracy = (0.1, 0.97) if validated else (None, None)
    return [Epoch(epoch, 0.01, 0.2 / epoch, 0.95, loss, accuracy, 1.0) for epoch in (1, 2, 3)]


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize("validated", [True, False])
def test_curves_are_drawn_with_and_without_validation(tmp_path: Path, *, validated: bool) -> None:
    draw_curves(history(validated=validated), tmp_path / "curves.png")
    assert is_png(tmp_path / "curves.png")


def test_the_same_numbers_are_the_same_bytes(tmp_path: Path) -> None:
    draw_curves(history(validated=True), tmp_path / "one.png")
    draw_curves(history(validated=True), tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@given(st.lists(st.tuples(DIGITS, DIGITS), min_size=1, max_size=50))
def test_the_confusion_matrix_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = torch.tensor(pairs).T
    ours = confusion_matrix(labels, predictions)
    assert ours.tolist() == sklearns(labels, predictions, labels=range(10)).tolist()


def test_a_network_without_a_mistake_can_be_drawn(tmp_path: Path) -> None:
    labels = torch.arange(10)
    draw_confusion(confusion_matrix(labels, labels), tmp_path / "matrix.png")
    images = torch.zeros(10, 28, 28, dtype=torch.uint8)
    draw_mistakes(images, labels, labels, torch.ones(10), tmp_path / "mistakes.png")
    assert is_png(tmp_path / "matrix.png")
    assert is_png(tmp_path / "mistakes.png")
