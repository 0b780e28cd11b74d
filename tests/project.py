"""The project as a user has it: a copy in a git repository of its own, on small data."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from mnist12k.files import read_yaml

ROOT = Path(__file__).parents[1]
TRAINED = (  # the outputs of the stage train
    "models/cnn.pt",
    "models/epochs.npy",
    "reports/train/result.json",
    "reports/train/history.csv",
    "reports/train/metrics.json",
)
CONTRACT = [
    "data/mnist/MNIST/raw/train-images-idx3-ubyte",
    "reports/backprop/losses.csv",
    "reports/backprop/steps.csv",
    "reports/backprop/loss_by_learning_rate.png",
    "reports/train/history.csv",
    "reports/train/metrics.json",
    "reports/train/result.json",
    "reports/train/model_summary.txt",
    "models/cnn.pt",
    "reports/evaluate/metrics.json",
    "reports/evaluate/result.json",
    "reports/evaluate/predictions.csv",
    "reports/evaluate/confusion_matrix.png",
]
# Replaces the pairs of the seeds study and their number of seeds.
SMALL_SEEDS = (
    "reference: [fast, best, reference]\n    vgg: [best]\n    resnet: [best]\n  count: 20",
    "reference: [fast]\n  count: 3",
)
SMALL = {
    "epochs: null": "epochs: 2",
    "validation_size: 5000": "validation_size: 100",
    "learning_rates: [0.1, 0.2, 0.5, 0.8, 1.0, 2.0]": "learning_rates: [0.5, 2.0]",
    "iterations: 100": "iterations: 20",
}
# Columns of MLflow's database with absolute paths below the project's root.
PATHS = {
    "experiments": ["artifact_location"],
    "runs": ["artifact_uri"],
    "logged_models": ["artifact_location"],
    "model_versions": ["source", "storage_location"],
}


class Project:
    """A copy of the working tree in a git repository of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.variables: dict[str, str] = {}  # further environment variables of its commands

    def copy_to(self, root: Path) -> "Project":
        """Return a copy in another folder, its MLflow store included."""
        shutil.copytree(self.root, root, symlinks=True)
        if (root / "mlflow.db").is_file():
            move_store(self.root, root)
        return Project(root)

    def edit(self, old: str, new: str, file: str = "params.yaml") -> None:
        text = (self.root / file).read_text(encoding="utf-8")
        assert old in text
        (self.root / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    def commit(self) -> None:
        self.git("add", "-A")
        self.git(*("-c", "user.name=t", "-c", "user.email=t@t"), "commit", "-qm", "state")

    def git(self, *arguments: str) -> str:
        return git(self.root, *arguments)

    def environment(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
        # The installed command must run the code of this copy.
        ours = {"PATH": path, "PYTHONPATH": str(self.root / "src"), "GIT_AUTHOR_NAME": "t"}
        return inherited | ours | self.variables

    def run(self, *command: str, cwd: Path | None = None, code: int = 0) -> str:
        """Run a command and return its output; assert its exit code."""
        done = subprocess.run(
            command,
            cwd=cwd or self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    @contextmanager
    def training(self, *command: str) -> Iterator["subprocess.Popen[str]"]:
        """Yield a command that trains, once its first epoch is printed."""
        with subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("epoch"):
                    break
            yield process

    def client(self, store: str = "mlflow.db") -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.root / store}")

    def runs(self, store: str = "mlflow.db") -> list[Run]:
        """Return the runs of trainings."""
        client = self.client(store)
        experiment = client.get_experiment_by_name("mnist12k")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
        return [run for run in runs if "train.epochs" in run.data.params]

    def contents(self) -> dict[str, bytes]:
        return {path: (self.root / path).read_bytes() for path in CONTRACT}

    def table(self, path: str) -> pd.DataFrame:
        return pd.read_csv(self.root / path)


def copy_workspace(old: Path, new: Path) -> None:
    """Copy a published workspace; MLflow then finds the copy's artifacts."""
    from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

    shutil.copytree(old, new, symlinks=True)
    move_store(old, new)
    _artifact_repos_cache.clear()  # by run id, and the runs of a copy have the same ids


def move_store(old: Path, new: Path) -> None:
    """Make the MLflow store in the folder `new`, a copy of `old`, refer to its own artifacts."""
    with closing(sqlite3.connect(new / "mlflow.db")) as store, store:
        for table, columns in PATHS.items():
            for column in columns:
                store.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?, ?)",  # noqa: S608
                    (str(old), str(new)),
                )


def create_project(root: Path, idx_folder: Path, idx_sha256: Mapping[str, str]) -> Project:
    """Copy the working tree, without results, and set it to small data."""
    project = Project(root)
    listed = git(ROOT, "ls-files", "-co", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("reports/"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    (root / "dvc.lock").unlink(missing_ok=True)
    project.edit("source: auto", f"source: {idx_folder}")
    for name, digest in read_yaml(ROOT / "params.yaml")["fetch"]["sha256"].items():
        project.edit(digest, idx_sha256[name])
    for old, new in SMALL.items():
        project.edit(old, new)
    project.git("init", "-q")
    project.commit()
    return project


def git(folder: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
