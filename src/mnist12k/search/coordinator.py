"""One coordinator per study: the `mnist12k tune`, or `seeds`, that fills its queue and reports.

It holds a lock that ends with its process: of a file beside the journal, or of a session of the
database, which is taken again after the database was restarted.
"""

import _thread
import contextlib
import hashlib
import signal
import threading
import uuid
from collections.abc import Iterator

import optuna
import sqlalchemy
from filelock import FileLock, Timeout
from sqlalchemy.exc import SQLAlchemyError

from mnist12k.errors import UserError
from mnist12k.paths import store_root
from mnist12k.search.storage import JOURNAL, PAUSE, connect
from mnist12k.search.study import FINISHED

HELPERS = {"tune": "mnist12k tune-worker", "seeds": "mnist12k tune-worker --seeds"}  # by command
HOLDER = sqlalchemy.text(
    "SELECT coalesce(application_name, '') FROM pg_locks LEFT JOIN pg_stat_activity USING (pid) "
    "WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
    "AND (classid::bigint << 32) + objid::bigint = :key AND pg_locks.database = "
    "(SELECT oid FROM pg_database WHERE datname = current_database())"
)
# For a machine that is gone: the database ends its session within a minute.
KEEPALIVE = "SET tcp_keepalives_idle = 20; SET tcp_keepalives_interval = 10"


@contextlib.contextmanager
def coordinating(study: optuna.Study, storage: str, command: str = "tune") -> Iterator[None]:
    """Coordinate a study, alone; its workers end when the block has ended without an error.

    Raises UserError as `only_coordinator` does.
    """
    with only_coordinator(storage, study.study_name, command):
        study.set_user_attr(FINISHED, False)
        yield
        study.set_user_attr(FINISHED, True)


@contextlib.contextmanager
def only_coordinator(storage: str, study: str, command: str = "tune") -> Iterator[None]:
    """Be the only coordinator of the study of this name; raise UserError if there is another.

    That may happen within the block as well: after the database was restarted, another process may
    be the first to take the lock. The block is then stopped as by a signal.
    """
    taken = UserError(f"another `mnist12k {command}` runs {study}; `{HELPERS[command]}` helps it")
    if storage == "journal":
        held = file_lock(study)
        try:
            held.acquire(timeout=1)  # a worker may be looking at it
        except Timeout:
            raise taken from None
        try:
            yield
        finally:
            held.release()
        return

    lock = DatabaseLock(storage, study)
    if not lock.take():
        lock.close()
        raise taken
    ended, lost = threading.Event(), threading.Event()

    def hold() -> None:
        while not ended.wait(PAUSE):
            with contextlib.suppress(SQLAlchemyError):  # the study's storage waits, and says so
                if not lock.take():
                    lost.set()
                    _thread.interrupt_main(signal.SIGTERM)
                    return

    holding = threading.Thread(target=hold, daemon=True)
    holding.start()
    try:
        yield
    except KeyboardInterrupt:
        if lost.is_set():
            raise taken from None
        raise
    finally:
        ended.set()
        holding.join()
        lock.close()


def is_coordinated(storage: str, study: str) -> bool:
    """Return whether a coordinator of the study of this name is running.

    True as well if the database does not answer: nothing is known then.
    """
    if storage == "journal":
        try:
            with file_lock(study).acquire(blocking=False):
                return False
        except Timeout:
            return True
    lock = DatabaseLock(storage, study)
    try:
        return lock.holder() is not None
    except SQLAlchemyError:
        return True
    finally:
        lock.close()


def file_lock(study: str) -> FileLock:
    """Return the lock beside the journal."""
    return FileLock(store_root() / f"{JOURNAL}.{study}.flock")


class DatabaseLock:
    """An advisory lock of a PostgreSQL session of its own."""

    def __init__(self, address: str, study: str) -> None:
        self.address = address
        digest = hashlib.sha256(study.encode()).digest()
        self.key = int.from_bytes(digest[:8]) >> 1  # a positive bigint
        self.name = f"mnist12k-{uuid.uuid4().hex}"  # shown in pg_stat_activity
        self.connection: sqlalchemy.Connection | None = None

    def take(self) -> bool:
        """Take the lock, or confirm that it is held; return whether it is.

        A session that was cut off may hold it for a while: it has the same name.
        """
        if self.holder() == self.name:
            return True
        assert self.connection is not None
        query = sqlalchemy.select(sqlalchemy.func.pg_try_advisory_lock(self.key))
        return bool(self.connection.execute(query).scalar_one())

    def holder(self) -> str | None:
        """Return the name of the session that holds the lock, or None."""
        try:
            if self.connection is None:
                self.connection = connect(self.address)
                self.connection.execute(sqlalchemy.text(KEEPALIVE))
                set_name = "SELECT set_config('application_name', :name, false)"
                self.connection.execute(sqlalchemy.text(set_name), {"name": self.name})
            name: str | None = self.connection.execute(HOLDER, {"key": self.key}).scalar()
            return name
        except SQLAlchemyError:
            self.close()
            raise

    def close(self) -> None:
        """Release the lock."""
        if self.connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                self.connection.close()
        self.connection = None
