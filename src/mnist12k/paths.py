"""Every path of a project, relative to its root, and how the root is found."""

import os
from pathlib import Path

from mnist12k.errors import UserError

PARAMS = Path("params.yaml")
PIPELINE = Path("dvc.yaml")
LOCK = Path("requirements.lock")

DATA = Path("data/mnist")
MODEL = Path("models/cnn.pt")
EPOCHS = Path("models/epochs.npy")
ONNX_MODEL = Path("models/cnn.onnx")
CHECKPOINTS = Path("checkpoints")
BENCHMARKS = Path("benchmarks")

REPORTS = Path("reports")
BACKPROP_REPORTS = REPORTS / "backprop"
TRAIN_REPORTS = REPORTS / "train"
EVALUATE_REPORTS = REPORTS / "evaluate"
SEEDS_REPORTS = REPORTS / "seeds"
TUNE_REPORTS = REPORTS / "tune"
BEST_PARAMS = TUNE_REPORTS / "best_params.yaml"
PAGE = REPORTS / "index.html"
MODEL_CARD = REPORTS / "model_card.md"

WRITTEN = (DATA.parent, MODEL.parent, CHECKPOINTS, REPORTS)  # the folders with what stages write


def project_root() -> Path:
    """Return the closest folder, from the current one upwards, with params.yaml and dvc.yaml."""
    current = Path.cwd()
    for folder in (current, *current.parents):
        if (folder / PARAMS).is_file() and (folder / PIPELINE).is_file():
            return folder
    raise UserError(f"no params.yaml and dvc.yaml in {current} or a folder above it")


def store_root() -> Path:
    """Return the folder of mlflow.db, mlartifacts and optuna.journal: the project's root.

    `dvc exp run --temp` works in a temporary copy below the project's .dvc/tmp, whose files are
    removed afterwards, and names the project in DVC_ROOT. Elsewhere the variable is another's.
    """
    current, root = Path.cwd().resolve(), Path(os.environ.get("DVC_ROOT") or ".").resolve()
    return root if current.is_relative_to(root / ".dvc/tmp") else current
