"""Workers that have nothing but a PostgreSQL server in common, as on several machines."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.storages import fail_stale_trials
from optuna.trial import TrialState
from team_server import find_postgresql, postgresql
from tune_command import new_folder, read_report, read_until, start
from workspace import ELSEWHERE, inside

from mnist12k.errors import without_passwords
from mnist12k.params import load_params
from mnist12k.search import storage
from mnist12k.search.plan import plan
from mnist12k.search.queue import PROCESS, fill_queue, queued
from mnist12k.search.study import open_study

PROGRAMS = find_postgresql()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAMS is None, reason="PostgreSQL is not installed"),
]


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    assert PROGRAMS is not None
    with postgresql(PROGRAMS) as address:
        yield address


@contextmanager
def opened(folder: Path) -> Iterator[optuna.Study]:
    """Open a folder's study with its queue filled, and close its connections at the end."""
    with inside(folder):
        settings = load_params().search()
        study = open_study(settings)
        try:
            fill_queue(study, plan(settings))
            yield study
        finally:
            study._storage.remove_session()
            study._storage._backend.engine.dispose()  # type: ignore[attr-defined]


def test_a_worker_in_another_folder_joins_a_search_and_loses_no_trial_when_killed(
    database: str, tmp_path: Path, idx_folder: Path
) -> None:
    first, second = (
        new_folder(tmp_path / name, idx_folder, storage=database, trials=10)
        for name in ("one", "two")
    )
    with start(first, "tune") as tune:
        output = read_until(tune, "mnist12k-")
        with start(second, "tune-worker") as worker:
            output += read_until(tune, "trial ")
            os.killpg(worker.pid, signal.SIGKILL)
            worker.communicate()
        output += tune.communicate(timeout=400)[0]
    assert tune.returncode == 0, output
    assert len(read_report(first, "trials.csv")) == 10
    assert not (first / "optuna.journal").exists()


def test_a_single_worker_empties_the_queue(database: str, tmp_path: Path, idx_folder: Path) -> None:
    folder = new_folder(tmp_path / "alone", idx_folder, storage=database, trials=2, seed=5)
    with opened(folder) as study:
        with start(folder, "tune-worker") as process:
            process.communicate(timeout=200)
        assert process.returncode == 0
        assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2


def test_a_silent_worker_on_another_machine_loses_its_trial(
    database: str, tmp_path: Path, idx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "HEARTBEAT", 1)
    monkeypatch.setattr(storage, "GRACE", 2)
    folder = new_folder(tmp_path / "silent", idx_folder, storage=database, trials=1, seed=6)
    with opened(folder) as study:
        with pytest.warns(UserWarning, match="Heartbeat"):
            trial = study.ask()
        trial.suggest_float("learning_rate", 0.05, 1.5, log=True)
        trial.set_user_attr(PROCESS, ELSEWHERE)
        study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
        fail_stale_trials(study)
        assert queued(study) == []
        time.sleep(3)
        fail_stale_trials(study)
        (retried,) = queued(study)
        assert retried.system_attrs["fixed_params"] == trial.params


def test_the_password_is_not_shown(database: str, tmp_path: Path, idx_folder: Path) -> None:
    folder = new_folder(tmp_path / "secret", idx_folder, storage=database)
    with inside(folder):
        shown = without_passwords(load_params().tune.storage)
    assert shown.startswith("postgresql://mlflow:***@127.0.0.1:")
