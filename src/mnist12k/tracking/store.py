"""The tracking store: how to connect to it, and what happens when it fails."""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.exc import SQLAlchemyError

from mnist12k.errors import UserError, warn, without_passwords
from mnist12k.paths import store_root

T = TypeVar("T")

EXPERIMENT = "mnist12k"
# These log every table they create, every missing GPU, and the full text of errors that this
# project reports in one line.
LOG_LEVELS = {
    "alembic": logging.WARNING,
    "mlflow.store.db.utils": logging.CRITICAL,
    "mlflow.system_metrics.system_metrics_monitor": logging.ERROR,
    "urllib3.connectionpool": logging.ERROR,
}

_local_uris: set[str] = set()  # given to MLflow by this process


def local_database() -> Path:
    """Return the path of the project's SQLite store, used unless MLFLOW_TRACKING_URI is set."""
    return store_root() / "mlflow.db"


def artifact_root() -> str:
    """Return the URI of the folder with the artifacts of the SQLite store."""
    return (store_root() / "mlartifacts").as_uri()


def is_local() -> bool:
    """Return whether the store is the project's SQLite file."""
    # mlflow.set_tracking_uri sets the variable as well; that is not the user's choice.
    return os.environ.get("MLFLOW_TRACKING_URI", "") in ("", *_local_uris)


def connect() -> tuple[MlflowClient, str]:
    """Return a client and the id of this project's experiment; create what does not exist.

    The store is the one that MLFLOW_TRACKING_URI names, else the project's SQLite file.
    """
    for name, level in LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    artifacts = None  # a server decides itself where they go
    if is_local():
        # MLflow would resolve its default against the working directory.
        artifacts = artifact_root()
        if not local_database().exists():
            _create_database(local_database(), artifacts)
        uri = _sqlite_uri(local_database())
        _local_uris.add(uri)
        mlflow.set_tracking_uri(uri)
    else:
        mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    client = MlflowClient()
    return client, _experiment_id(client, artifacts)


class BestEffort:
    """Call functions until one fails; then print one warning and skip every later call."""

    def __init__(self) -> None:
        self.failed = False

    def __call__(self, action: Callable[[], T]) -> T | None:
        """Return `action()`, or None if it fails or an earlier one has failed."""
        if self.failed:
            return None
        try:
            return action()
        except UserError as error:  # a file of the project, not the store
            warn(f"not logged to MLflow: {error}")
        except Exception as error:  # no failure of the store may stop a stage
            warn(f"tracking failed ({reason(error)}); `mnist12k publish` adds what is missing")
        self.failed = True
        return None


@contextmanager
def errors_as_user_errors() -> Iterator[None]:
    """Raise errors of the tracking store as UserError."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise UserError(f"tracking failed ({reason(error)})") from error


def reason(error: Exception) -> str:
    """Return the cause of a tracking error in one line, without passwords."""
    if is_unauthenticated(error):
        return "the server rejects this MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    cause: BaseException = error
    while isinstance(cause, MlflowException | SQLAlchemyError) and (
        inner := getattr(cause, "orig", None) or cause.__cause__ or cause.__context__
    ):
        cause = inner  # what the database says, not what SQLAlchemy advises
    lines = (str(cause).strip() or str(error).strip() or type(cause).__name__).splitlines()
    return without_passwords(lines[0][:200])


def is_unauthenticated(error: Exception) -> bool:
    """Return whether a server rejected the user name or the password."""
    return isinstance(error, MlflowException) and error.error_code == "UNAUTHENTICATED"


def already_exists(error: MlflowException) -> bool:
    """Return whether something could not be created because another process was faster."""
    return str(error.error_code) == "RESOURCE_ALREADY_EXISTS"


def retry_on_conflict(action: Callable[[], T]) -> T:
    """Return `action()`; call it again if another process has just added the same.

    MLflow looks up a data set or an alias and inserts it if it is missing. If two processes do so
    at the same time, one insert fails; on the second attempt the lookup succeeds.
    """
    try:
        return action()
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        return action()


def _create_database(path: Path, artifacts: str) -> None:
    """Create an empty store atomically: MLflow cannot use a partial one."""
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        SqlAlchemyStore(_sqlite_uri(temporary), artifacts).engine.dispose()
        try:
            os.link(temporary, path)  # unlike a rename, never replaces another process's store
        except FileExistsError:
            return
        except OSError:  # the file system has no hard links
            temporary.rename(path)


def _sqlite_uri(database: Path) -> str:
    return f"sqlite:///{database.as_posix()}"


def _experiment_id(client: MlflowClient, artifacts: str | None) -> str:
    if experiment := client.get_experiment_by_name(EXPERIMENT):
        if experiment.lifecycle_stage == "deleted":  # which keeps its name reserved
            client.restore_experiment(experiment.experiment_id)
            warn(f"the experiment {EXPERIMENT} was deleted, and is restored")
        return str(experiment.experiment_id)
    try:
        return str(client.create_experiment(EXPERIMENT, artifact_location=artifacts))
    except MlflowException as error:
        experiment = client.get_experiment_by_name(EXPERIMENT) if already_exists(error) else None
        if experiment is None:
            raise
        return str(experiment.experiment_id)
