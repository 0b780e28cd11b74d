"""The project as a user has it: a copy in a git repository of its own, set to small data."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from conftest import ROOT
from mlflow import MlflowClient
from mlflow.entities import Run

from mnist12k.params import read_yaml

CONTRACT = [
    "data/mnist/MNIST/raw/train-images-idx3-ubyte",
    "reports/backprop/losses.csv",
    "reports/backprop/steps.csv",
    "reports/backprop/loss_by_learning_rate.png",
    "reports/train/history.csv",
    "reports/train/metrics.json",
    "reports/train/model_summary.txt",
    "models/cnn.pt",
    "reports/evaluate/metrics.json",
    "reports/evaluate/predictions.csv",
    "reports/evaluate/confusion_matrix.png",
]


class Project:
    """A copy of the working tree in a git repository of its own, set to small data."""

    def __init__(self, root: Path, idx_folder: Path, idx_sha256: Mapping[str, str]) -> None:
        self.root = root
        self.variables: dict[str, str] = {}  # that its commands are given besides
        listed = self._git("ls-files", "-co", "--exclude-standard", "-z", cwd=ROOT)
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file() and not name.startswith("reports/"):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, root / name)
        (root / "dvc.lock").unlink(missing_ok=True)
        self.edit("source: auto", f"source: {idx_folder}")
        for name, digest in read_yaml(ROOT / "params.yaml")["fetch"]["sha256"].items():
            self.edit(digest, idx_sha256[name])
        self.edit("epochs: null", "epochs: 2")
        self.edit("validation_size: 5000", "validation_size: 100")
        self._git("init", "-q")
        self.commit()

    def edit(self, old: str, new: str, file: str = "params.yaml") -> None:
        text = (self.root / file).read_text(encoding="utf-8")
        assert old in text
        (self.root / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    def commit(self) -> None:
        self._git("add", "-A")
        self._git(*("-c", "user.name=t", "-c", "user.email=t@t"), "commit", "-qm", "state")

    def _git(self, *arguments: str, cwd: Path | None = None) -> str:
        command = ["git", *arguments]
        return subprocess.run(
            command, cwd=cwd or self.root, capture_output=True, text=True, check=True
        ).stdout

    def environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        path = f"{Path(sys.executable).parent}{os.pathsep}{ours['PATH']}"
        # The installed command must run this copy's code.
        ours |= {"PATH": path, "PYTHONPATH": str(self.root / "src"), "GIT_AUTHOR_NAME": "t"}
        return ours | self.variables

    def run(self, *command: str, cwd: Path | None = None, code: int = 0) -> str:
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

    def client(self, store: str = "mlflow.db") -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.root / store}")

    def runs(self, store: str = "mlflow.db") -> list[Run]:
        """Return the trainings' runs."""
        client = self.client(store)
        experiment = client.get_experiment_by_name("mnist12k")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
        return [run for run in runs if "train.epochs" in run.data.params]

    def contents(self) -> dict[str, bytes]:
        return {path: (self.root / path).read_bytes() for path in CONTRACT}
