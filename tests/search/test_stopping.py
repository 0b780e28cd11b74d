"""A worker that is stopped finishes what it is writing, so that the next search starts at once."""

import multiprocessing
import os
import signal
import time
from multiprocessing import synchronize
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from tune_command import alive, new_folder, read_until, start
from workspace import inside

from mnist12k.params import load_params
from mnist12k.search.journal import JournalLock, open_journal
from mnist12k.search.queue import requeue_dead
from mnist12k.search.study import open_study
from mnist12k.signals import end_with_parent

HALVES = (
    b'{"op_code":0,"worker_id":"x","study_name":',
    b'"written","directions":[1]}\n',
)


def write_slowly(path: Path, is_writing: synchronize.Event) -> None:
    """Write half a record in a worker's process, and the other half a second later."""
    end_with_parent()
    lock = JournalLock(path)
    lock.acquire()
    with path.open("ab", buffering=0) as journal:
        journal.write(HALVES[0])
        is_writing.set()
        time.sleep(1)
        journal.write(HALVES[1])
    lock.release()
    time.sleep(60)


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process at once")
def test_a_stopped_worker_finishes_the_record_that_it_is_writing(tmp_path: Path) -> None:
    path = tmp_path / "optuna.journal"
    optuna.create_study(storage=open_journal(path), study_name="first")
    spawn = multiprocessing.get_context("spawn")
    is_writing = spawn.Event()
    worker = spawn.Process(target=write_slowly, args=(path, is_writing))
    worker.start()
    assert is_writing.wait(120)
    worker.terminate()
    worker.join(30)
    assert worker.exitcode == 128 + signal.SIGTERM
    assert optuna.get_all_study_names(open_journal(path)) == ["first", "written"]
    assert not path.with_name("optuna.journal.damaged").exists()


@pytest.mark.slow
def test_the_next_search_starts_within_two_seconds_after_ctrl_c(
    tmp_path: Path, idx_folder: Path
) -> None:
    folder = new_folder(tmp_path / "search", idx_folder, trials=60, workers=2)
    for number in (0, 3, 6):
        with start(folder, "tune") as process:
            output = read_until(process, "trial ")
            time.sleep(number / 20)
            os.killpg(process.pid, signal.SIGINT)
            output += process.communicate(timeout=60)[0]
        assert process.returncode == 130, output
        assert alive(process.pid) == []
        with inside(folder):
            settings = load_params().search()
            started = time.monotonic()
            study = open_study(settings)
            requeue_dead(study, {})
            assert time.monotonic() - started < 2
        assert study.get_trials(states=(TrialState.RUNNING,)) == []
        assert "damaged" not in output
        assert not (folder / "optuna.journal.damaged").exists()
