import gzip
import os
import signal
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

from mnist12k.digits.dataset import Digits, load_training_digits
from mnist12k.digits.fetch import RAW, file_sha256
from mnist12k.params import IDX_FILES, Params, load_params

# A shell that runs the tests in the background has Ctrl-C ignored, and every process that they
# start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A loaded machine is no reason to fail; CI draws the same examples every time.
hypothesis.settings.register_profile(
    "project", deadline=None, derandomize=os.environ.get("CI") == "true"
)
hypothesis.settings.load_profile("project")

ROOT = Path(__file__).parents[1]
SMALL_TRAINING, SMALL_TEST = 600, 1000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what tells something within seconds first."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write uint8 values as LeCun's IDX: two zeros, the type, the dimensions, the bytes."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.tobytes())


def small_digits(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw noisy bars, a place a class, that any network tells apart."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % 10).astype(np.uint8)
    images = random.integers(0, 60, (count, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 4)
        image[4 + 8 * row : 10 + 8 * row, 2 + 6 * column : 7 + 6 * column] += 180
    return images, labels


@pytest.fixture(scope="session")
def idx_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four small IDX files that no source of MNIST has."""
    folder = tmp_path_factory.mktemp("idx")
    for part, count, seed in (("train", SMALL_TRAINING, 1), ("t10k", SMALL_TEST, 2)):
        images, labels = small_digits(count, seed)
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    return folder


@pytest.fixture(scope="session")
def gzipped_folder(idx_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gzipped")
    for path in idx_folder.iterdir():
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    return folder


@pytest.fixture(scope="session")
def idx_sha256(idx_folder: Path) -> Mapping[str, str]:
    return {name: file_sha256(idx_folder / name) for name in IDX_FILES}


@pytest.fixture(scope="session")
def small_training_digits(idx_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Digits:
    root = tmp_path_factory.mktemp("root")
    raw = root / RAW
    raw.parent.mkdir(parents=True)
    raw.symlink_to(idx_folder, target_is_directory=True)
    return load_training_digits(root)


@pytest.fixture(scope="session")
def params() -> Params:
    return load_params(ROOT / "params.yaml")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute on one thread: two would wait for each other where other work is going on."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
