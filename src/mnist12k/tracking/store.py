"""Where the runs are kept."""

import logging
import os
from pathlib import Path

import mlflow
from mlflow import MlflowClient

EXPERIMENT = "mnist12k"


def store_root() -> Path:
    """Return the folder that holds mlflow.db and mlartifacts: the project's.

    DVC names it, because in the temporary copy of `dvc exp run --temp` the working directory is
    not the project's and its files do not last.
    """
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def connect() -> tuple[MlflowClient, str]:
    """Connect to the store; return its client and the id of this project's experiment, made if new.

    MLFLOW_TRACKING_URI names the store if it is set; else it is a SQLite file in `store_root()`.
    """
    for name in ("alembic", "mlflow.store.db.utils"):  # they tell of every table they make
        logging.getLogger(name).setLevel(logging.WARNING)
    local = not os.environ.get("MLFLOW_TRACKING_URI")
    if local:
        mlflow.set_tracking_uri(f"sqlite:///{(store_root() / 'mlflow.db').as_posix()}")
    client = MlflowClient()
    known = client.get_experiment_by_name(EXPERIMENT)
    if known is not None:
        return client, str(known.experiment_id)
    # MLflow would resolve the local default against the working directory; a server knows its own.
    artifacts = (store_root() / "mlartifacts").as_uri() if local else None
    return client, str(client.create_experiment(EXPERIMENT, artifact_location=artifacts))
