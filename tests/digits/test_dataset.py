from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL_TEST, SMALL_TRAINING, write_idx
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from networks import REFERENCE
from torchvision.datasets.mnist import read_image_file, read_label_file

from mnist12k.digits.dataset import Digits, load_test_digits, load_training_digits, split
from mnist12k.digits.settings import RAW
from mnist12k.errors import UserError


@pytest.fixture
def root(tmp_path: Path, idx_folder: Path) -> Path:
    raw = tmp_path / RAW
    raw.mkdir(parents=True)
    for path in idx_folder.iterdir():
        (raw / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_each_part_has_its_own_images_and_labels(root: Path) -> None:
    training, test = load_training_digits(root, REFERENCE), load_test_digits(root, REFERENCE)
    assert training.images.shape == (SMALL_TRAINING, 28, 28)
    assert test.images.shape == (SMALL_TEST, 28, 28)
    assert training.images.dtype == torch.uint8
    assert training.labels.tolist() == [i % 10 for i in range(SMALL_TRAINING)]


def test_an_absent_file_is_named_with_what_brings_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte is missing; .dvc repro fetch"):
        load_training_digits(tmp_path, REFERENCE)


@pytest.mark.parametrize("content", [b"", b"\0\0", b"<html>", b"\0\0\x08\x03" + b"\0\0\0\x02" * 3])
def test_a_damaged_file_is_named(root: Path, content: bytes) -> None:
    (root / RAW / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(UserError, match="train-images-idx3-ubyte is damaged"):
        load_training_digits(root, REFERENCE)


@given(st.integers(1, 3), st.data())
def test_the_reader_reads_what_torchvisions_reads(
    tmp_path_factory: pytest.TempPathFactory, count: int, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("root")
    images = data.draw(arrays(np.uint8, (count, 28, 28)))
    labels = data.draw(arrays(np.uint8, count, elements=st.integers(0, 9)))
    (root / RAW).mkdir(parents=True)
    write_idx(root / RAW / "train-images-idx3-ubyte", images)
    write_idx(root / RAW / "train-labels-idx1-ubyte", labels)
    ours = load_training_digits(root, REFERENCE)
    assert torch.equal(ours.images, read_image_file(str(root / RAW / "train-images-idx3-ubyte")))
    assert torch.equal(ours.labels, read_label_file(str(root / RAW / "train-labels-idx1-ubyte")))
    assert ours.labels.dtype == torch.int64


@pytest.mark.parametrize("label", [0, 27])
def test_a_label_without_a_name_is_named(root: Path, label: int) -> None:
    kind = REFERENCE.model_copy(update={"classes": tuple(map(str, range(26)))})
    labels = np.arange(SMALL_TRAINING, dtype=np.uint8) % 26 + 1  # numbered from 1
    write_idx(root / RAW / "train-labels-idx1-ubyte", labels)
    wrong = np.full(SMALL_TEST, label, dtype=np.uint8)
    write_idx(root / RAW / "t10k-labels-idx1-ubyte", wrong)
    with pytest.raises(UserError, match=f"t10k has the label {label}; .* labels 1 to 26$"):
        load_test_digits(root, kind)


def test_images_and_labels_of_different_number_are_an_error(root: Path) -> None:
    labels = root / RAW / "t10k-labels-idx1-ubyte"
    labels.write_bytes((root / RAW / "train-labels-idx1-ubyte").read_bytes())
    with pytest.raises(UserError, match=rf"t10k has images.*{SMALL_TRAINING} labels"):
        load_test_digits(root, REFERENCE)


def numbered(count: int) -> Digits:
    """Digits whose labels tell which they are."""
    return Digits(torch.zeros(count, 28, 28, dtype=torch.uint8), torch.arange(count))


def test_training_and_validation_share_no_image_and_leave_none_out() -> None:
    training, validation = split(numbered(100), 30)
    assert len(validation.labels) == 30
    assert sorted([*training.labels.tolist(), *validation.labels.tolist()]) == list(range(100))


def test_the_split_is_the_same_every_time_and_drawn_by_chance() -> None:
    torch.manual_seed(1)
    _, first = split(numbered(100), 30)
    torch.manual_seed(2)
    _, second = split(numbered(100), 30)
    assert first.labels.tolist() == second.labels.tolist()
    assert first.labels.tolist() != sorted(first.labels.tolist())


def test_validation_may_be_empty() -> None:
    training, validation = split(numbered(10), 0)
    assert len(training.labels) == 10
    assert len(validation.labels) == 0


def test_a_validation_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(UserError, match=r"train.validation_size = 10: .*less than the 10"):
        split(numbered(10), 10)
