import os

# Before PyTorch is imported: threads that wait must sleep, and workers that share the cores have
# one each. Spinning threads of two workers would keep each other waiting.
os.environ["OMP_WAIT_POLICY"] = os.environ.get("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")

import gzip
import shutil
import signal
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from networks import REFERENCE
from project import ROOT, Project, copy_workspace, create_project
from team_server import PostgreSQL, find_postgresql, postgresql_server
from workspace import inside, make_workspace, threads, train_and_evaluate

from mnist12k.cnn.device import be_deterministic
from mnist12k.digits.dataset import Digits, load_training_digits
from mnist12k.digits.fetch import file_sha256
from mnist12k.digits.settings import IDX_FILES, RAW
from mnist12k.params import Params, load_params

# A shell that runs the tests in the background ignores Ctrl-C, and every process started here
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: a busy machine is no failure. CI draws the same examples every time.
hypothesis.settings.register_profile(
    "project", deadline=None, derandomize=os.environ.get("CI") == "true"
)
hypothesis.settings.load_profile("project")

SMALL_TRAINING, SMALL_TEST = 600, 1000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run fast tests first."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write uint8 values as LeCun's IDX: two zeros, the type, the dimensions, the bytes."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.tobytes())


def small_digits(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw noisy bars, one position per class, that any network learns to classify."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % 10).astype(np.uint8)
    images = random.integers(0, 60, (count, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 4)
        image[4 + 8 * row : 10 + 8 * row, 2 + 6 * column : 7 + 6 * column] += 180
    return images, labels


@pytest.fixture(scope="session")
def idx_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four small IDX files."""
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
    return load_training_digits(root, REFERENCE)


@pytest.fixture(scope="session")
def params() -> Params:
    return load_params(ROOT / "params.yaml")


@pytest.fixture(scope="session")
def trained_template(idx_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small training, evaluated: never changed, only copied."""
    folder = tmp_path_factory.mktemp("template") / "trained"
    make_workspace(folder, idx_folder)
    with inside(folder):
        train_and_evaluate()
    return folder


@pytest.fixture
def workspace(trained_template: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the small training for one test, and the current folder during it."""
    folder = tmp_path / "workspace"
    shutil.copytree(trained_template, folder, symlinks=True)
    with inside(folder):
        yield folder


@pytest.fixture(scope="session")
def published_template(trained_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small training with its complete MLflow run: never changed, only copied."""
    from mnist12k.tracking.publish import publish  # slow to import, and not needed by every test

    folder = tmp_path_factory.mktemp("template") / "published"
    shutil.copytree(trained_template, folder, symlinks=True)
    with inside(folder):
        publish(load_params())
    return folder


@pytest.fixture
def published(published_template: Path, tmp_path: Path) -> Iterator[Params]:
    """The parameters of a copy of the published training, the current folder during the test."""
    folder = tmp_path / "published"
    copy_workspace(published_template, folder)
    with inside(folder):
        yield load_params()


@pytest.fixture(scope="session")
def project_template(
    idx_folder: Path, idx_sha256: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A project after `dvc repro`, committed: never changed, only copied."""
    project = create_project(
        tmp_path_factory.mktemp("template") / "project", idx_folder, idx_sha256
    )
    assert project.run("dvc", "repro").count("Running stage") == 5
    project.commit()
    return project


@pytest.fixture
def project(project_template: Project, tmp_path: Path) -> Project:
    """A copy of the project after `dvc repro` for one test."""
    return project_template.copy_to(tmp_path / "project")


@pytest.fixture
def deterministic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the same bits every time, on an accelerator too."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    be_deterministic()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute on one thread: two would wait for each other on a busy machine."""
    with threads(1):
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A PostgreSQL server with an empty database, for the tests of a module."""
    programs = find_postgresql()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with postgresql_server(programs) as server:
        yield server
