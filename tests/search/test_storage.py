"""A database that restarts: a real PostgreSQL, stopped and started again."""

import inspect
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import optuna
import psycopg
import pytest
from optuna.storages import _cached_storage, fail_stale_trials
from optuna.trial import TrialState
from team_server import PostgreSQL

from mnist12k.errors import UserError
from mnist12k.search import storage
from mnist12k.search.queue import enqueue, finished, queued
from mnist12k.search.storage import Database, open_storage

T = TypeVar("T")
pytestmark = pytest.mark.slow


@pytest.fixture
def database(server: PostgreSQL) -> Iterator[Database]:
    opened = open_storage(server.address)
    assert isinstance(opened, Database)
    yield opened
    opened.remove_session()
    opened.engine.dispose()


@pytest.fixture
def study(database: Database) -> optuna.Study:
    return optuna.create_study(storage=database)


def ask(study: optuna.Study) -> optuna.Trial:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the heartbeat: these trials have none
        return study.ask()


class CutOff:
    """Loses the connection once: before or after the n-th commit from now on."""

    def __init__(self, database: Database, number: int, after: bool) -> None:
        self.left, self.after = number, after
        self._dialect: Any = database.engine.dialect
        self._commit: Any = self._dialect.do_commit
        setattr(self._dialect, "do_commit", self._cut_off)  # noqa: B010 - mypy

    def _cut_off(self, connection: object) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        self._commit(connection)
        if self.left == 0:
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    def end(self) -> bool:
        """Cut nothing any more; return whether the connection was lost."""
        setattr(self._dialect, "do_commit", self._commit)  # noqa: B010
        return self.left <= 0


@pytest.fixture(params=[True, False], ids=["after the commit", "before the commit"])
def after(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(storage, "PAUSE", 0.1)
    return bool(request.param)


def test_every_call_of_optunas_cache_outlives_a_lost_connection() -> None:
    called = set(re.findall(r"self\._backend\.(\w+)\(", inspect.getsource(_cached_storage)))
    overridden = {name for name in called if name in vars(Database)}
    assert called - overridden == {
        "get_heartbeat_interval",
        "get_heartbeat_stale_trial_callback",
    }


def cut_everywhere(
    database: Database, after: bool, prepare: Callable[[], T], act: Callable[[T], None]
) -> Iterator[T]:
    """Yield what `prepare` returned after `act` was cut off at its first commit, its second, ..."""
    for number in range(1, 100):
        prepared = prepare()
        cut = CutOff(database, number, after)
        act(prepared)
        if not cut.end():
            assert number > 1
            return
        yield prepared


def test_a_trial_whose_creation_is_cut_off_exists_once(database: Database, after: bool) -> None:
    def prepare() -> optuna.Study:
        study = optuna.create_study(storage=database)
        enqueue(study, {"x": 0.5}, {})
        return study

    def act(study: optuna.Study) -> None:
        enqueue(study, {"x": 0.7}, {"mnist12k.seed": 3})

    for study in cut_everywhere(database, after, prepare, act):
        first, second = queued(study)
        assert [trial.number for trial in (first, second)] == [0, 1]
        assert second.system_attrs["fixed_params"] == {"x": 0.7}
        assert second.user_attrs["mnist12k.seed"] == 3


def test_a_result_whose_storing_is_cut_off_is_stored_once(database: Database, after: bool) -> None:
    def prepare() -> tuple[optuna.Study, optuna.Trial]:
        study = optuna.create_study(storage=database)
        return study, ask(study)

    def act(prepared: tuple[optuna.Study, optuna.Trial]) -> None:
        study, trial = prepared
        trial.suggest_float("x", 0, 1)
        trial.report(0.25, 1)
        trial.set_user_attr("name", "value")
        study.tell(trial, 0.1 + 0.2)

    for study, trial in cut_everywhere(database, after, prepare, act):
        (stored,) = finished(study)
        assert stored.value == 0.1 + 0.2
        assert set(stored.params) == {"x"}
        assert stored.intermediate_values == {1: 0.25}
        assert stored.user_attrs["name"] == "value"
        with pytest.raises(ValueError, match="Cannot tell a COMPLETE trial"):
            study.tell(trial, 0.5)


def test_a_trial_whose_claim_is_cut_off_is_claimed_once_or_left_to_be_queued_again(
    database: Database, after: bool
) -> None:
    claimed = []

    def prepare() -> optuna.Study:
        study = optuna.create_study(storage=database)
        enqueue(study, {}, {})
        enqueue(study, {}, {})
        return study

    for study in cut_everywhere(
        database, after, prepare, lambda study: claimed.append(ask(study).number)
    ):
        states = [trial.state for trial in study.get_trials()]
        lost = claimed[-1] == 1  # nobody knows who has claimed the first one
        assert states == [TrialState.RUNNING, TrialState.RUNNING if lost else TrialState.WAITING]
    assert (1 in claimed) == after


def test_a_restart_is_one_line_and_the_call_succeeds(
    server: PostgreSQL, study: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    enqueue(study, {}, {})
    server.stop()
    starting = threading.Timer(4, server.start)
    starting.start()
    try:
        trial = ask(study)
        study.tell(trial, 1.5)
    finally:
        starting.join()
    assert [each.value for each in finished(study)] == [1.5]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mnist12k: warning: tune.storage = 'postgresql://mlflow:***@127.0.0.1:")
    assert "connection lost, retrying for 5 minutes (" in line


def test_a_restart_between_two_calls_is_not_noticed(
    server: PostgreSQL, study: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    enqueue(study, {}, {})
    server.stop()
    server.start()
    assert len(queued(study)) == 1
    assert capsys.readouterr().err == ""


def test_a_database_that_stays_away_is_an_error_of_one_line_and_stays_one(
    server: PostgreSQL, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "PATIENCE", 3)
    server.stop()
    try:
        started = time.monotonic()
        with pytest.raises(UserError, match=r"^tune.storage = .*: no answer for 0.05 minutes \(.*"):
            queued(study)
        assert 3 < time.monotonic() - started < 20
    finally:
        server.start()
    with pytest.raises(UserError, match="no answer"):  # nothing that followed from it is stored
        enqueue(study, {}, {})


def test_no_trial_counts_as_lost_soon_after_a_restart(
    server: PostgreSQL, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = study._storage._backend  # type: ignore[attr-defined]
    monkeypatch.setattr(storage, "GRACE", 8)
    monkeypatch.setattr(database, "grace_period", 1)
    trial = ask(study)
    database.record_heartbeat(trial._trial_id)
    server.stop()
    server.start()
    time.sleep(2)
    fail_stale_trials(study)
    assert study.get_trials(states=(TrialState.FAIL,)) == []
    time.sleep(8)
    fail_stale_trials(study)
    assert len(study.get_trials(states=(TrialState.FAIL,))) == 1


def test_a_heartbeat_that_gets_lost_stops_nothing(
    server: PostgreSQL, study: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = ask(study)
    server.stop()
    try:
        study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
    finally:
        server.start()
    assert capsys.readouterr().err == ""


def test_processes_that_open_an_empty_database_together_all_succeed(server: PostgreSQL) -> None:
    with psycopg.connect(server.address, autocommit=True) as connection:
        connection.execute("CREATE DATABASE other")
    address = server.address.removesuffix("mlflow") + "other"
    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(open_storage, [address] * 8))
    for each in opened:
        assert isinstance(each, Database)
        assert optuna.get_all_study_names(each) == []
        each.remove_session()
        each.engine.dispose()


def test_an_error_that_is_not_the_connections_is_raised_at_once(study: optuna.Study) -> None:
    with pytest.raises(KeyError, match="Record does not exist"):
        optuna.load_study(study_name="none", storage=study._storage)
