"""The projects that the cases copy, on small data."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from conftest import SMALL_TEST, SMALL_TRAINING, small_digits, write_idx
from project import ROOT, Project, create_project
from workspace import inside, make_workspace, train_and_evaluate

from mnist12k.digits.fetch import file_sha256
from mnist12k.digits.settings import IDX_FILES


class Templates(NamedTuple):
    """What is never changed, only copied."""

    idx_folder: Path  # four small IDX files
    trained: Path  # a folder with a training, evaluated
    project: Project  # after `dvc repro`, committed

    @property
    def idx_sha256(self) -> Mapping[str, str]:
        """The digests of the IDX files."""
        return {name: file_sha256(self.idx_folder / name) for name in IDX_FILES}

    def new_project(self, root: Path) -> Project:
        """Return a project in which nothing has been run."""
        return on_one_thread(create_project(root, self.idx_folder, self.idx_sha256))

    def finished_project(self, root: Path) -> Project:
        """Return a copy of the project after `dvc repro`."""
        return on_one_thread(self.project.copy_to(root))


def create_templates(folder: Path) -> Templates:
    """Create every template below `folder`; takes about a minute."""
    idx_folder = folder / "idx"
    idx_folder.mkdir(parents=True)
    for part, count, seed in (("train", SMALL_TRAINING, 1), ("t10k", SMALL_TEST, 2)):
        images, labels = small_digits(count, seed)
        write_idx(idx_folder / f"{part}-images-idx3-ubyte", images)
        write_idx(idx_folder / f"{part}-labels-idx1-ubyte", labels)
    make_workspace(folder / "trained", idx_folder)
    with inside(folder / "trained"), contextlib.redirect_stdout(StringIO()):
        train_and_evaluate()
    templates = Templates(idx_folder, folder / "trained", Project(folder / "project"))
    output = templates.new_project(folder / "project").run("dvc", "repro")
    assert "mnist12k: warning" not in output, output
    templates.project.commit()
    return templates


def on_one_thread(project: Project) -> Project:
    """Set the project's commands to one thread, so that two run side by side."""
    project.variables |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return project


def copy_complete(trained: Path, folder: Path) -> Path:
    """Copy a training, with the committed results of every study and benchmark beside it."""
    shutil.copytree(trained, folder, symlinks=True)
    for name in ("backprop", "seeds", "tune"):
        shutil.copytree(ROOT / "reports" / name, folder / "reports" / name)
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks")
    shutil.copy(ROOT / "requirements.lock", folder)
    return folder


def files_below(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder, by its path there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def can_signal_groups() -> bool:
    """Return whether a whole process group can be killed here."""
    return os.name != "nt"
