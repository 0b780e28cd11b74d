"""The tracking store: how to connect to it, and what happens when it fails."""

import atexit
import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import mlflow
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.exc import SQLAlchemyError

from mnist12k.errors import UserError, warn, without_passwords
from mnist12k.failures import explain
from mnist12k.files import temporary_folder
from mnist12k.paths import CHECKPOINTS, store_root
from mnist12k.tracking.server import require_answer, require_supported

T = TypeVar("T")

EXPERIMENT = "mnist12k"
LONGEST_WAIT = 600  # seconds
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


def open_client() -> MlflowClient:
    """Return a client of the store that MLFLOW_TRACKING_URI names, else of the project's SQLite.

    Raises UserError if it is of a kind that is not supported, and OSError or SQLAlchemyError if a
    server does not answer within seconds.
    """
    for name, level in LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    if is_local():
        os.environ.pop("MLFLOW_REGISTRY_URI", None)  # the models are in the same store
        if not local_database().exists():
            _create_database(local_database())
        elif not local_database().is_file():
            raise UserError(f"{local_database().name} is not a file; move it away")
        uri = _sqlite_uri(local_database())
        _local_uris.add(uri)
    else:
        uri = _from_the_root(os.environ["MLFLOW_TRACKING_URI"])
        require_supported(uri)
        require_answer(uri)
    mlflow.set_tracking_uri(uri)
    return MlflowClient()


def connect() -> tuple[MlflowClient, str]:
    """Return a client and the id of this project's experiment; create what does not exist."""
    client = open_client()
    return client, _experiment_id(client)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other process of this project completes its runs, for at most 10 minutes."""
    path = store_root() / CHECKPOINTS / "publish.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("waiting for another process that logs to MLflow", flush=True)
        lock.acquire(timeout=LONGEST_WAIT)
    try:
        yield
    finally:
        lock.release()


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
            warn(f"{_failure(error)}; `mnist12k publish` adds what is missing")
        self.failed = True
        return None


@contextmanager
def errors_as_user_errors() -> Iterator[None]:
    """Raise errors of the tracking store as UserError."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise UserError(_failure(error)) from error


def reason(error: Exception) -> str:
    """Return the cause of a tracking error in one line, without passwords."""
    if is_unauthenticated(error):
        return "the server rejects this MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    cause: BaseException = error
    while isinstance(cause, MlflowException | SQLAlchemyError) and (
        inner := getattr(cause, "orig", None) or cause.__cause__ or cause.__context__
    ):
        cause = inner  # what the database says, not what SQLAlchemy advises
    if isinstance(cause, OSError) and (line := explain(cause)):
        return line
    lines = (str(cause).strip() or str(error).strip() or type(cause).__name__).splitlines()
    return without_passwords(lines[0])[:200]


def _failure(error: Exception) -> str:
    where = f"{local_database().name}: " if is_local() else ""
    return f"tracking failed ({where}{reason(error)})"


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


def _create_database(path: Path) -> None:
    """Create an empty store atomically: MLflow cannot use a partial one."""
    with temporary_folder(path.parent) as folder:
        temporary = folder / path.name
        SqlAlchemyStore(_sqlite_uri(temporary), artifact_root()).engine.dispose()
        try:
            os.link(temporary, path)  # unlike a rename, never replaces another process's store
        except FileExistsError:
            return
        except OSError:  # the file system has no hard links
            temporary.rename(path)


def _sqlite_uri(database: Path) -> str:
    """Return the URL of a SQLite file, in whose path only % and ? are quoted."""
    path = database.as_posix()
    quoted = path.replace("%", "%25").replace("?", "%3F")
    if quoted != path:  # MLflow takes the URL for a path, and creates that folder
        atexit.register(_remove_empty_folders, Path(quoted).parent)
    return f"sqlite:///{quoted}"


def _remove_empty_folders(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not empty
        for each in (folder, *folder.parents):
            each.rmdir()


def _from_the_root(uri: str) -> str:
    """Return the address of a SQLite file with its path relative to the store's root.

    Relative to the current folder, the store of `dvc exp run --temp` would be removed with it.
    """
    path = uri.removeprefix("sqlite:///")
    return _sqlite_uri(store_root() / path) if path != uri else uri


def _experiment_id(client: MlflowClient) -> str:
    if experiment := client.get_experiment_by_name(EXPERIMENT):
        if experiment.lifecycle_stage == "deleted":  # which keeps its name reserved
            client.restore_experiment(experiment.experiment_id)
            warn(f"the experiment {EXPERIMENT} was deleted, and is restored")
        return str(experiment.experiment_id)
    # MLflow's default for a database is a folder of the working directory; a server has its own.
    on_server = mlflow.get_tracking_uri().startswith("http")
    artifacts = None if on_server else artifact_root()
    try:
        return str(client.create_experiment(EXPERIMENT, artifact_location=artifacts))
    except MlflowException as error:
        experiment = client.get_experiment_by_name(EXPERIMENT) if already_exists(error) else None
        if experiment is None:
            raise
        return str(experiment.experiment_id)
