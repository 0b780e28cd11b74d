"""How the page's results were obtained: commit, versions, digests, settings."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import git

from mnist12k.cnn.settings import Train
from mnist12k.digits.settings import Fetch
from mnist12k.outputs import EvaluateMetrics, TrainMetrics

PACKAGES = ("mnist12k", "torch", "torchvision", "numpy", "dvc", "mlflow", "optuna")


def provenance(
    train: Train, fetch: Fetch, trained: TrainMetrics, evaluated: EvaluateMetrics
) -> dict[str, dict[str, Any]]:
    """Return tables of names and values, by heading."""
    return {
        "Code and model": {
            "git commit": commit(Path()) or "not in a git repository",
            "training fingerprint": trained.fingerprint,
            "MD5 of models/cnn.pt": evaluated.model_md5,
            "trained on": trained.device,
            "training time in seconds": trained.seconds,
        },
        "Training settings": train.model_dump(exclude_none=True),
        "SHA-256 of the data": fetch.sha256,
        "Versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
    }


def commit(folder: Path) -> str | None:
    """Return the current commit's digest, None outside of git or before the first commit."""
    try:
        return git.Repo(folder, search_parent_directories=True).head.commit.hexsha
    except (git.InvalidGitRepositoryError, ValueError):
        return None
