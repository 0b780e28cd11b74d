"""Where the runs are kept."""

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from mnist12k.stores import store_root

T = TypeVar("T")

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
    artifacts = None  # a server knows its own place for them
    if is_local():
        # MLflow would resolve its default against the working directory.
        artifacts = (store_root() / "mlartifacts").as_uri()
        database = store_root() / "mlflow.db"
        if not database.exists():
            _make_database(database, artifacts)
        ours = _uri(database)
        _ours.add(ours)
        mlflow.set_tracking_uri(ours)
    else:
        mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    client = MlflowClient()
    return client, _experiment_id(client, artifacts)


def is_there_already(error: MlflowException) -> bool:
    """Tell whether something could not be made because another process had been quicker."""
    return str(error.error_code) == "RESOURCE_ALREADY_EXISTS"


def again_if_outrun(action: Callable[[], T]) -> T:
    """Return what `action` returns, done once more if another process has just added the same.

    MLflow looks for a data set or an alias, and adds what it has not found: of two that do so in
    the same moment, one is refused. It finds the other's the next time.
    """
    try:
        return action()
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        return action()


def _make_database(path: Path, artifacts: str) -> None:
    """Make an empty store, whole or not at all: MLflow cannot go on with half of one."""
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as folder:
        whole = Path(folder) / path.name
        SqlAlchemyStore(_uri(whole), artifacts).engine.dispose()
        try:
            os.link(whole, path)  # unlike a renaming, never in another process's place
        except FileExistsError:
            return
        except OSError:  # the file system knows no links
            whole.rename(path)


def _uri(database: Path) -> str:
    return f"sqlite:///{database.as_posix()}"


def _experiment_id(client: MlflowClient, artifacts: str | None) -> str:
    if known := client.get_experiment_by_name(EXPERIMENT):
        return str(known.experiment_id)
    try:
        return str(client.create_experiment(EXPERIMENT, artifact_location=artifacts))
    except MlflowException as error:
        known = client.get_experiment_by_name(EXPERIMENT) if is_there_already(error) else None
        if known is None:
            raise
        return str(known.experiment_id)
