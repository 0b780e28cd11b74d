"""Where the stores of MLflow and Optuna lie, which are no outputs of any run."""

import os
from pathlib import Path


def store_root() -> Path:
    """Return the folder that holds mlflow.db, mlartifacts and optuna.journal: the project's.

    DVC names it, because in the temporary copy of `dvc exp run --temp` the working directory is
    not the project's and its files do not last.
    """
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
