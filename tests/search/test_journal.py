"""A killed writer costs a search at most the record that it was writing."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages.journal import JournalFileOpenLock
from optuna.trial import TrialState
from project import ROOT
from tune_command import search_settings

from mnist12k.errors import UserError
from mnist12k.search.journal import JournalLock, open_journal
from mnist12k.search.study import open_study

WRITE_HALF = """
import sys
from pathlib import Path
from mnist12k.search.journal import JournalLock
path = Path("optuna.journal")
lock = JournalLock(path)
lock.acquire()
with path.open("ab", buffering=0) as journal:
    journal.write(b'{"op_code":4,"worker_id":')
    print("half", flush=True)
    sys.stdin.readline()
    journal.write(b'"x","study_id":0,"datetime_start":null}\\n')
"""
WRITE_TRIALS = """
import warnings
warnings.simplefilter("ignore")
from pathlib import Path
import optuna
from mnist12k.search.journal import open_journal
storage = open_journal(Path("optuna.journal"))
study = optuna.load_study(study_name="study", storage=storage)
while True:
    trial = study.ask()
    trial.set_user_attr("padding", "x" * 5000)
    print(trial.number, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with a study of five finished trials."""
    path = tmp_path / "optuna.journal"
    study = optuna.create_study(storage=open_journal(path), study_name="study")
    for number in range(5):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        study.tell(trial, number)
    return path


@contextmanager
def process(code: str, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Start a process with our modules; kill it at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def finished_trials(path: Path) -> list[int]:
    """Open a journal as a later search does, add a trial, and return the finished ones."""
    study = optuna.create_study(storage=open_journal(path), study_name="study", load_if_exists=True)
    count = len(study.trials)
    study.tell(study.ask(), state=TrialState.FAIL)
    assert len(study.trials) == count + 1
    assert all(json.loads(line) for line in path.read_bytes().splitlines())
    return [trial.number for trial in study.get_trials(states=(TrialState.COMPLETE,))]


def confirmed_trial(writer: "subprocess.Popen[str]") -> int:
    assert writer.stdout is not None
    return int(writer.stdout.readline())


def kill(writer: "subprocess.Popen[str]") -> list[int]:
    """Kill a process that writes trials, and return those that it had confirmed."""
    writer.kill()
    assert writer.stdout is not None
    *numbers, _ = writer.stdout.read().split("\n")
    return [int(number) for number in numbers]


def damaged(path: Path) -> Path:
    return path.with_name("optuna.journal.damaged")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fraction=st.floats(0, 1), tail=st.sampled_from([b"", bytes(300), b"\xff\xfe", b"[" * 9000]))
def test_a_journal_cut_anywhere_keeps_every_whole_line(
    path: Path, fraction: float, tail: bytes
) -> None:
    whole = path.read_bytes()
    try:
        left = whole[: int(fraction * len(whole))]
        path.write_bytes(left + tail)
        lines, _, torn = (left + tail).rpartition(b"\n")
        assert finished_trials(path) == list(range(lines.count(b'"state":1,"values":[')))
        assert path.read_bytes().startswith(lines)
        assert (damaged(path).read_bytes() if torn else b"\n") == torn + b"\n"
    finally:
        path.write_bytes(whole)
        damaged(path).unlink(missing_ok=True)


def test_what_is_cut_is_a_warning_of_one_line_and_kept(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for torn in (b'{"op_code":', b'{"op_code":4,"wor{"op_code":0,"worker_id":"x"}\n'):
        with path.open("ab") as journal:
            journal.write(torn)
        assert finished_trials(path) == [0, 1, 2, 3, 4]
        (line,) = capsys.readouterr().err.splitlines()
        assert line == (
            f"mnist12k: warning: {path}: moved a damaged last line of {len(torn)} bytes to "
            "optuna.journal.damaged"
        )
    kept = damaged(path).read_bytes().splitlines()
    assert kept == [b'{"op_code":', b'{"op_code":4,"wor{"op_code":0,"worker_id":"x"}']


@pytest.mark.parametrize(
    "line", [b'{"op_code":4,"wor{"op_code":0}', bytes(20), b"\xff", b"", b"7", b"{}", b"[1, 2]"]
)
def test_a_damaged_line_in_between_is_named_and_the_lines_before_it_are_a_journal(
    path: Path, line: bytes
) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    before = b"".join([*lines[:9], line + b"\n", *lines[9:]])
    path.write_bytes(before)
    with pytest.raises(UserError) as caught:
        open_journal(path)
    assert str(caught.value) == (
        f"{path}: line 10 is damaged; move it away, and a new search starts; its first 9 lines are "
        "a valid journal"
    )
    assert path.read_bytes() == before
    path.write_bytes(b"".join(lines[:9]))
    assert finished_trials(path) == [0, 1]


@pytest.mark.parametrize(
    "record",
    [
        '{"op_code":99,"worker_id":"x"}',
        '{"op_code":4,"worker_id":"x"}',
        '{"op_code":"4","worker_id":null}',
        '{"op_code":6,"worker_id":"x","trial_id":0,"state":99,"values":null}',
    ],
)
def test_another_format_is_one_line_and_stays_unchanged(path: Path, record: str) -> None:
    study = '{"op_code":0,"worker_id":"x","study_name":"study","directions":[1]}\n'
    trial = '{"op_code":4,"worker_id":"x","study_id":0,"datetime_start":null}\n'
    content = study + trial + record + "\n"
    path.write_text(content)
    with pytest.raises(UserError, match=r"is not a journal of Optuna \d.*a new search starts$"):
        open_journal(path)
    assert path.read_text() == content


def test_a_database_is_no_journal(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\n\0" * 500)
    with pytest.raises(UserError, match=r": line 1 is damaged; move it away, and a new"):
        open_journal(path)


def test_an_empty_or_missing_journal_is_a_new_one(path: Path) -> None:
    path.write_bytes(b"")
    assert finished_trials(path) == []
    path.unlink()
    assert finished_trials(path) == []


def test_a_folder_or_a_pipe_is_no_journal(path: Path) -> None:
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match=r"is not a file; move it away, and a new"):
        open_journal(path)
    if hasattr(os, "mkfifo"):
        path.rmdir()
        os.mkfifo(path)
        with pytest.raises(UserError, match="is not a file"):
            open_journal(path)


def test_a_journal_that_cannot_be_read_is_one_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(UserError, match=r"^/.* cannot be opened: Permission denied$"):
        open_journal(path)


def test_optunas_own_locks_left_by_an_earlier_version_hold_nothing_up(path: Path) -> None:
    JournalFileOpenLock(str(path)).acquire()
    assert finished_trials(path) == [0, 1, 2, 3, 4]
    JournalFileOpenLock(str(path)).release()
    path.with_name("optuna.journal.lock").symlink_to(path.parent / "moved/optuna.journal")
    assert finished_trials(path) == [0, 1, 2, 3, 4]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_writer_killed_while_it_holds_the_lock_delays_no_later_search(path: Path) -> None:
    with process(WRITE_HALF, path.parent) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "half\n"
        writer.send_signal(signal.SIGKILL)
    started = time.monotonic()
    assert finished_trials(path) == [0, 1, 2, 3, 4]
    assert time.monotonic() - started < 5
    assert damaged(path).read_bytes() == b'{"op_code":4,"worker_id":\n'


def test_a_line_that_a_live_process_is_writing_is_never_cut(path: Path) -> None:
    opened: list[object] = []
    with process(WRITE_HALF, path.parent) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "half\n"
        waiting = threading.Thread(target=lambda: opened.append(open_journal(path)))
        waiting.start()
        waiting.join(timeout=1)
        assert waiting.is_alive()
        writer.communicate("\n")
        waiting.join()
    assert opened
    assert path.read_bytes().endswith(b'"x","study_id":0,"datetime_start":null}\n')
    assert not damaged(path).exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_no_trial_is_lost_when_two_of_three_writers_are_killed_again_and_again(path: Path) -> None:
    confirmed: list[int] = []
    folder = path.parent
    with process(WRITE_TRIALS, folder) as survivor:
        for delay in (0.05, 0.2, 0.4):
            with process(WRITE_TRIALS, folder) as one, process(WRITE_TRIALS, folder) as two:
                confirmed += [confirmed_trial(writer) for writer in (one, two, survivor)]
                time.sleep(delay)
                confirmed += kill(one) + kill(two)
        assert survivor.poll() is None
        confirmed += kill(survivor)
    assert len(confirmed) == len(set(confirmed))
    study = optuna.load_study(study_name="study", storage=open_journal(path))
    padded = {trial.number for trial in study.trials if trial.user_attrs.get("padding")}
    assert padded >= set(confirmed)


def test_a_search_names_the_damaged_line(tmp_path: Path, idx_folder: Path) -> None:
    with search_settings(tmp_path, idx_folder) as search:
        study = open_study(search)
        journal = Path("optuna.journal")
        with journal.open("ab") as file:
            file.write(b'{"op')
        assert open_study(search).study_name == study.study_name
        journal.write_bytes(b"\0\n" + journal.read_bytes())
        with pytest.raises(UserError, match=r"optuna.journal: line 1 is damaged; move it away"):
            open_study(search)


def test_the_lock_is_released_if_the_line_cannot_be_cut(tmp_path: Path) -> None:
    path = tmp_path / "optuna.journal"
    with pytest.raises(FileNotFoundError):
        JournalLock(path).acquire()
    path.touch()
    assert JournalLock(path).acquire()
