"""How the page's figures were made: commit, versions, digests, choices."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import git

from mnist12k.params import Params

PACKAGES = ("mnist12k", "torch", "torchvision", "numpy", "dvc", "mlflow", "optuna")


def made(
    params: Params, trained: Mapping[str, Any], evaluated: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return tables by their headings: names and values."""
    return {
        "Where it stands": {
            "commit that the page was made on": commit(Path()) or "not in a git repository",
            "training's fingerprint": trained["fingerprint"],
            "models/cnn.pt, MD5": evaluated["model_md5"],
            "trained on": trained["device"],
            "seconds of training": trained["seconds"],
        },
        "The training's choices": {
            name: value for name, value in params.train.model_dump().items() if value is not None
        },
        "Data, SHA-256": dict(params.fetch.sha256),
        "Versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
    }


def commit(folder: Path) -> str | None:
    """Return the current commit's digest, None outside of git or before the first commit."""
    try:
        return git.Repo(folder, search_parent_directories=True).head.commit.hexsha
    except (git.InvalidGitRepositoryError, ValueError):
        return None
