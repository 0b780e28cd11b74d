"""Where studies are stored: a journal on this machine, or a PostgreSQL database for many machines.

A database may restart while a search runs, so every call is repeated until it answers again. A call
that is cut off may have been carried out or not; the repeated one then changes nothing.
"""

import copy
import functools
import json
import multiprocessing
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models  # no public way to look a trial up by its token
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from mnist12k.errors import UserError, warn, without_passwords
from mnist12k.failures import chain
from mnist12k.paths import store_root
from mnist12k.search.journal import open_journal
from mnist12k.search.queue import GRACE, retry

T = TypeVar("T")

JOURNAL = "optuna.journal"
HEARTBEAT = 15  # seconds
PATIENCE = 300  # seconds without an answer of the database, after which a search ends
PAUSE = 2  # seconds between two tries
TOKEN = "mnist12k.token"  # noqa: S105 - system attribute of a trial, one per call that creates it
SCHEMA_LOCK = 0x6D6E697374  # advisory lock of the process that creates Optuna's tables
# A machine that is gone is noticed within a minute, instead of the two hours of TCP's default.
CONNECTION = {
    "connect_timeout": 5,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
# What Optuna's cache calls, and its threads do not.
REPEATED = (
    *("create_new_study", "delete_study", "get_all_studies", "get_study_directions"),
    *("get_study_id_from_name", "get_study_name_from_id", "get_study_system_attrs"),
    *("get_study_user_attrs", "set_study_system_attr", "set_study_user_attr"),
    *("get_trial", "get_trial_id_from_study_id_trial_number", "_get_trials"),
    *("_get_best_trial_id", "set_trial_intermediate_value", "set_trial_system_attr"),
    *("set_trial_user_attr", "_set_trial_param"),
)


def open_storage(name: str, patient: bool = False) -> BaseStorage:
    """Open the journal next to the tracking store, or a PostgreSQL database.

    A database that does not answer is an error at once, or if `patient` after `PATIENCE` seconds.
    """
    if name == "journal":
        return open_journal(store_root() / JOURNAL)
    if not patient:
        return Database(name)
    return Persistence(name).repeat(lambda: Database(name))


def connect(address: str) -> sqlalchemy.Connection:
    """Connect to a database in autocommit mode; closing the connection ends its session."""
    engine = sqlalchemy.create_engine(
        address, connect_args=CONNECTION, poolclass=sqlalchemy.NullPool
    )
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


class Persistence:
    """Repeats calls while the database does not answer, and says so once per outage."""

    def __init__(self, address: str) -> None:
        self.name = f"tune.storage = {without_passwords(address)!r}"
        self.end = ""  # why every further call fails at once

    def repeat(self, call: Callable[[], T]) -> T:
        """Return the result of a call; raise UserError after `PATIENCE` seconds without one."""
        deadline: float | None = None
        while not self.end:
            try:
                return call()
            except (StorageInternalError, SQLAlchemyError) as error:
                reason = lost_connection(error)
                if reason is None:
                    raise
                if deadline is None:
                    deadline = time.monotonic() + PATIENCE
                    if multiprocessing.parent_process() is None:  # which says it for its workers
                        minutes = f"retrying for {PATIENCE / 60:.3g} minutes"
                        warn(f"{self.name}: connection lost, {minutes} ({reason})")
                elif time.monotonic() > deadline:
                    self.end = (
                        f"{self.name}: no answer for {PATIENCE / 60:.3g} minutes ({reason}); the "
                        "search resumes when you start it again"
                    )
            time.sleep(PAUSE)
        raise UserError(self.end)


def repeated(method: Callable[..., T]) -> Callable[..., T]:
    """Return a method that is repeated while the database does not answer."""

    @functools.wraps(method)
    def repeating(self: "Database", *args: Any, **kwargs: Any) -> T:
        return self.persistence.repeat(lambda: method(self, *args, **kwargs))

    return repeating


class Database(RDBStorage):
    """A PostgreSQL database that may restart at any time."""

    def __init__(self, address: str) -> None:
        self.persistence = Persistence(address)
        self.tokens: set[str] = set()  # of the trials whose creation has been tried
        with connect(address) as connection:  # two processes cannot create a table at once
            connection.execute(sqlalchemy.text("SET lock_timeout = '60s'"))
            connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_lock(SCHEMA_LOCK)))
            super().__init__(
                address,
                engine_kwargs={"connect_args": CONNECTION, "pool_pre_ping": True},
                heartbeat_interval=HEARTBEAT,
                grace_period=GRACE,
                heartbeat_stale_trial_callback=retry,
            )

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Store a trial's state; a queued trial whose claim was cut off counts as not claimed.

        Nobody knows then who has claimed it, so `requeue_dead` gives it to another worker.
        """
        tries = 0
        wanted = (state, None if values is None else list(values))

        def store() -> bool:
            nonlocal tries
            tries += 1
            try:
                return super(Database, self).set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                trial = super(Database, self).get_trial(trial_id)
                if tries > 1 and (trial.state, trial.values) == wanted:
                    return True  # stored by the call that was cut off
                raise

        return self.persistence.repeat(store)

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        """Create a trial, once."""
        template = copy.deepcopy(template_trial or create_trial(state=TrialState.RUNNING))
        token = uuid.uuid4().hex
        template.system_attrs = template.system_attrs | {TOKEN: token}
        try:
            return self.persistence.repeat(
                lambda: super(Database, self)._create_new_trial(study_id, template)
            )
        finally:
            self.tokens.discard(token)

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Any
    ) -> models.TrialModel:
        """Add a trial within a transaction, unless an earlier try has created it."""
        assert template_trial is not None
        token = template_trial.system_attrs[TOKEN]
        if token in self.tokens:
            attribute = models.TrialSystemAttributeModel
            query = session.query(models.TrialModel).join(attribute)
            query = query.filter(attribute.key == TOKEN, attribute.value_json == json.dumps(token))
            if (created := query.one_or_none()) is not None:
                return created  # type: ignore[no-any-return]
        self.tokens.add(token)
        return super()._get_prepared_new_trial(study_id, template_trial, session)

    def record_heartbeat(self, trial_id: int) -> None:
        """Store a sign of life; one that gets lost is made up for by the next one."""
        try:
            super().record_heartbeat(trial_id)
        except (StorageInternalError, SQLAlchemyError) as error:
            if lost_connection(error) is None:
                raise

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """Return the trials without a recent sign of life; none soon after a restart.

        While the database was down, no worker could give one.
        """

        def find() -> list[int]:
            with self.engine.connect() as connection:
                up = "SELECT extract(epoch FROM now() - pg_postmaster_start_time())"
                seconds = float(connection.execute(sqlalchemy.text(up)).scalar_one())
            return [] if seconds < GRACE else super(Database, self)._get_stale_trial_ids(study_id)

        return self.persistence.repeat(find)


for _name in REPEATED:
    setattr(Database, _name, repeated(getattr(RDBStorage, _name)))


def lost_connection(error: BaseException) -> str | None:
    """Return in one line why the database could not be asked; None if it has answered."""
    for each in chain(error):
        if isinstance(each, OperationalError | InterfaceError):
            lines = str(each.orig).strip().splitlines() or [type(each.orig).__name__]
            return without_passwords(lines[0])[:200]
    return None
