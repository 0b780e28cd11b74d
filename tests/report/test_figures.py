from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as sklearns

from mnist12k.cnn.history import Epoch
from mnist12k.report.figures.confusion import confusion_matrix, draw_confusion, draw_mistakes
from mnist12k.report.figures.curves import draw_curves
from mnist12k.report.figures.seeds import draw_seeds

DIGITS, CLASSES = st.integers(0, 9), "0123456789"


def history(*, validated: bool) -> pd.DataFrame:
    loss, accuracy = (0.1, 0.97) if validated else (None, None)
    epochs = [Epoch(epoch, 0.01, 0.2 / epoch, 0.95, loss, accuracy, 1.0) for epoch in (1, 2, 3)]
    return pd.DataFrame(epochs)


def predictions(pairs: list[tuple[int, int]]) -> pd.DataFrame:
    table = pd.DataFrame(pairs, columns=["label", "prediction"])
    return table.assign(index=range(len(table)), probability=0.75)


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize("validated", [True, False])
def test_curves_are_drawn_with_and_without_validation(tmp_path: Path, *, validated: bool) -> None:
    draw_curves(history(validated=validated), tmp_path / "curves.png")
    assert is_png(tmp_path / "curves.png")


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    draw_curves(history(validated=True), tmp_path / "one.png")
    draw_curves(history(validated=True), tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@given(st.lists(st.tuples(DIGITS, DIGITS), min_size=1, max_size=50))
def test_the_confusion_matrix_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    matrix = confusion_matrix(predictions(pairs), CLASSES)
    labels, predicted = zip(*pairs, strict=True)
    assert matrix.to_numpy().tolist() == sklearns(labels, predicted, labels=range(10)).tolist()
    assert matrix.index.tolist() == list(CLASSES)
    assert matrix.columns.equals(matrix.index)


@pytest.mark.parametrize("mistakes", [0, 3, 30])
def test_any_number_of_mistakes_can_be_drawn(tmp_path: Path, mistakes: int) -> None:
    table = predictions([(k % 10, k % 10) for k in range(10)] + [(4, 9)] * mistakes)
    draw_confusion(confusion_matrix(table, CLASSES), tmp_path / "matrix.png")
    images = torch.zeros(len(table), 28, 28, dtype=torch.uint8)
    draw_mistakes(images, table, CLASSES, tmp_path / "mistakes.png")
    assert is_png(tmp_path / "matrix.png")
    assert is_png(tmp_path / "mistakes.png")


def test_equal_accuracies_of_several_recipes_can_be_drawn(tmp_path: Path) -> None:
    rows = [("fast", 0.99), ("fast", 0.99), ("fast", 0.98), ("best", 0.995)]
    table = pd.DataFrame(rows, columns=["recipe", "test_accuracy"]).assign(network="vgg")
    draw_seeds(table, tmp_path / "seeds.png")
    assert is_png(tmp_path / "seeds.png")
