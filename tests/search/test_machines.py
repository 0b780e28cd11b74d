"""Workers that share nothing but a PostgreSQL server, as on several machines."""

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
from tune_command import new_folder, read_until, rows, start
from workspace import inside

from mnist12k.params import load_params
from mnist12k.search import study as study_module
from mnist12k.search.study import fill_queue, open_study, waiting, without_password

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
    """Open a folder's study with its queue filled, and leave no connection behind."""
    with inside(folder):
        params = load_params()
        study = open_study(params)
        try:
            fill_queue(study, params.tune)
            yield study
        finally:
            study._storage.remove_session()
            study._storage._backend.engine.dispose()  # type: ignore[attr-defined]


def test_a_worker_of_another_folder_shares_the_trials_and_killed_loses_none(
    database: str, tmp_path: Path, idx_folder: Path
) -> None:
    changes = {"storage": database, "trials": "10"}
    first, second = (new_folder(tmp_path / n, idx_folder, **changes) for n in ("one", "two"))
    with start(first, "tune") as tune:
        told = read_until(tune, "mnist12k-")
        with start(second, "tune-worker") as worker:
            told += read_until(tune, "trial ")
            os.killpg(worker.pid, signal.SIGKILL)
            worker.communicate()
        told += tune.communicate(timeout=400)[0]
    assert tune.returncode == 0, told
    assert len(rows(first, "trials.csv")) == 10
    assert not (first / "optuna.journal").exists()


def test_a_worker_alone_empties_the_queue(database: str, tmp_path: Path, idx_folder: Path) -> None:
    folder = new_folder(tmp_path / "alone", idx_folder, storage=database, trials="2", seed="5")
    with opened(folder) as study:
        with start(folder, "tune-worker") as process:
            process.communicate(timeout=200)
        assert process.returncode == 0
        assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2


def test_a_silent_worker_of_another_machine_gives_up_its_trial(
    database: str, tmp_path: Path, idx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_module, "HEARTBEAT", 1)
    monkeypatch.setattr(study_module, "GRACE", 2)
    folder = new_folder(tmp_path / "silent", idx_folder, storage=database, trials="1", seed="6")
    with opened(folder) as study:
        with pytest.warns(UserWarning, match="Heartbeat"):
            trial = study.ask()
        trial.suggest_float("learning_rate", 0.05, 1.5, log=True)
        trial.set_user_attr(study_module.PROCESS, "somewhere/1@1")
        study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
        fail_stale_trials(study)
        assert waiting(study) == []
        time.sleep(3)
        fail_stale_trials(study)
        (again,) = waiting(study)
        assert again.system_attrs["fixed_params"] == trial.params


def test_a_password_is_shown_to_nobody(database: str, tmp_path: Path, idx_folder: Path) -> None:
    folder = new_folder(tmp_path / "secret", idx_folder, storage=database)
    with inside(folder):
        shown = without_password(load_params().tune)
    assert shown.startswith("postgresql://mlflow:***@127.0.0.1:")
