"""Where the runs are kept."""

import logging
import os

import mlflow
from mlflow import MlflowClient

from mnist12k.stores import store_root

EXPERIMENT = "mnist12k"
# They tell of every table that they make, of every GPU that is not there, and of errors, at
# length, that are reported in a line elsewhere.
HUSHED = {
    "alembic": logging.WARNING,
    "mlflow.store.db.utils": logging.CRITICAL,
    "mlflow.system_metrics.system_metrics_monitor": logging.ERROR,
    "urllib3.connectionpool": logging.ERROR,
}

_ours: set[str] = set()


def is_local() -> bool:
    """Tell whether the store is the project's own: MLFLOW_TRACKING_URI names no other."""
    # MLflow writes the store that it is given into the variable: what we gave is no user's choice.
    return os.environ.get("MLFLOW_TRACKING_URI", "") in ("", *_ours)


def connect() -> tuple[MlflowClient, str]:
    """Connect to the store; return its client and the id of this project's experiment, made if new.

    MLFLOW_TRACKING_URI names the store if it is set; else it is a SQLite file in `store_root()`.
    """
    for name, level in HUSHED.items():
        logging.getLogger(name).setLevel(level)
    local = is_local()
    if local:
        ours = f"sqlite:///{(store_root() / 'mlflow.db').as_posix()}"
        _ours.add(ours)
        mlflow.set_tracking_uri(ours)
    else:
        mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    client = MlflowClient()
    known = client.get_experiment_by_name(EXPERIMENT)
    if known is not None:
        return client, str(known.experiment_id)
    # MLflow would resolve the local default against the working directory; a server knows its own.
    artifacts = (store_root() / "mlartifacts").as_uri() if local else None
    return client, str(client.create_experiment(EXPERIMENT, artifact_location=artifacts))
