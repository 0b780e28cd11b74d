"""Workers that have nothing but a PostgreSQL server in common, as on several machines."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from optuna.storages import fail_stale_trials
from team_server import PostgreSQL
from tune_command import new_folder, opened_study, read_report, read_until, start
from workspace import ELSEWHERE, inside

from mnist12k.errors import without_passwords
from mnist12k.params import load_params
from mnist12k.search import storage
from mnist12k.search.plan import plan
from mnist12k.search.queue import PROCESS, fill_queue, queued

pytestmark = pytest.mark.slow


ALONE = (
    *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--net", "--uts"),
    *("sh", "-c", 'hostname another && exec "$@"', "sh"),
)


def can_be_alone() -> bool:
    """Return whether a process can have its own machine, as far as the kernel can pretend one."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def database(server: PostgreSQL) -> str:
    return server.address


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


@pytest.mark.skipif(not can_be_alone(), reason="needs namespaces, which need root on Linux")
def test_a_worker_with_nothing_but_the_database_in_common_completes_a_search(
    server: PostgreSQL, tmp_path: Path, idx_folder: Path
) -> None:
    # Processes, host name and network of its own; its only way out is the database's socket.
    socket = server.address.replace("127.0.0.1:", "").replace(server.port, "")
    socket += f"?host={server.folder}&port={server.port}"
    first = new_folder(tmp_path / "one", idx_folder, storage=server.address, trials=12, seed=7)
    second = new_folder(tmp_path / "two", idx_folder, storage=socket, trials=12, seed=7)
    with start(first, "tune") as tune:
        output = read_until(tune, "mnist12k-")
        with start(second, "tune-worker", before=ALONE) as worker:
            output += tune.communicate(timeout=400)[0]
            helped = worker.communicate(timeout=60)[0]
    assert (tune.returncode, worker.returncode) == (0, 0), output + helped
    lines = [line for line in helped.splitlines() if line.startswith("trial ")]
    assert lines
    assert set(lines) <= set(output.splitlines())
    assert len(read_report(first, "trials.csv")) == 12


def test_a_silent_worker_on_another_machine_loses_its_trial(
    database: str, tmp_path: Path, idx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "HEARTBEAT", 1)
    monkeypatch.setattr(storage, "GRACE", 2)
    folder = new_folder(tmp_path / "silent", idx_folder, storage=database, trials=1, seed=6)
    with opened_study(folder) as (settings, study):
        fill_queue(study, plan(settings))
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
        fixed = retried.system_attrs["fixed_params"]
        assert {"learning_rate": fixed["learning_rate"]} == trial.params


def test_the_password_is_not_shown(database: str, tmp_path: Path, idx_folder: Path) -> None:
    folder = new_folder(tmp_path / "secret", idx_folder, storage=database)
    with inside(folder):
        shown = without_passwords(load_params().tune.storage)
    assert shown.startswith("postgresql://mlflow:***@127.0.0.1:")
