"""What the machine does to a command: one line that names file and cause, and no output is lost."""

import errno
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
import tune_command
from mlflow import MlflowClient
from PIL import Image
from project import SMALL
from servers import environment
from workspace import inside

from mnist12k.commands import exit_code, run_command
from mnist12k.errors import UserError, warn
from mnist12k.failures import explain
from mnist12k.files import write_json
from mnist12k.params import load_params
from mnist12k.signals import Stopped, stoppable
from mnist12k.stages import backprop

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has neither ulimit nor signals")

OUTPUTS = ("reports", "models")


@pytest.fixture(scope="module")
def results(trained_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small training, the study and a picture: commands that fail leave it as it is."""
    folder = tmp_path_factory.mktemp("machine") / "workspace"
    shutil.copytree(trained_template, folder, symlinks=True)
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    for old in ("learning_rates: [0.1, 0.2, 0.5, 0.8, 1.0, 2.0]", "iterations: 100"):
        text = text.replace(old, SMALL[old], 1)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    with inside(folder):
        backprop.run(load_params().backprop)
        Image.new("L", (60, 60)).save("empty.png")
        picture = Image.new("L", (60, 60))
        picture.paste(255, (25, 10, 35, 50))
        picture.save("digit.png")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for name in OUTPUTS
        for path in (folder / name).rglob("*")
        if path.is_file()
    }


def shell(folder: Path, script: str, *before: str) -> "subprocess.CompletedProcess[str]":
    """Run a shell script in the folder; its commands run this copy of the code."""
    command = [*before, "bash", "-c", script]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment() | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def assert_one_line(done: "subprocess.CompletedProcess[str]", *parts: str) -> None:
    """Assert that a command has failed with one line, which holds these parts."""
    errors = [line for line in done.stderr.splitlines() if ": warning: " not in line]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("mnist12k: error: ")
    for part in parts:
        assert part in errors[0]
    assert done.returncode == 2


# Files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "kilobytes", "file"),
    [
        ("evaluate", 1, "reports/evaluate/"),
        ("seeds", 0, "reports/seeds"),
        ("tune", 0, "journal"),
    ],
)
def test_a_limit_on_the_size_of_files_is_named_with_the_file_and_no_output_changes(
    results: Path, command: str, kilobytes: int, file: str
) -> None:
    before = contents(results)
    done = shell(results, f"ulimit -f {kilobytes}; mnist12k {command}")
    assert_one_line(done, file)
    assert contents(results) == before
    shutil.rmtree(results / "reports/seeds", ignore_errors=True)


FULL_DISK = """
mount -t tmpfs -o size=1m none small
mkdir small/workspace
cd small/workspace
for name in dvc.yaml params.yaml src data digit.png; do ln -s $OLDPWD/$name .; done
cp -r $OLDPWD/models $OLDPWD/reports .
head -c 1M /dev/zero > filler || true
for command in train backprop; do
  mnist12k $command > /dev/null || echo "$command: $?" >&2
done
mnist12k predict digit.png
cp -r models reports $OLDPWD/small2
"""
READ_ONLY = """
mount --bind . .
mount -o remount,ro,bind .
cd .
cd "$PWD"
for command in evaluate publish; do
  mnist12k $command > /dev/null || echo "$command: $?" >&2
done
mnist12k predict digit.png
"""


@pytest.fixture
def unshare(tmp_path: Path) -> list[str]:
    """The start of a command that may mount file systems, which nobody else sees."""
    command = ["unshare", "--map-root-user", "--mount"]
    probe = [*command, "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(probe, check=False).returncode:
        pytest.skip("this user cannot mount a file system")
    return command


def assert_each_fails_in_one_line(errors: str, cause: str, commands: list[str]) -> None:
    lines = [line for line in errors.splitlines() if ": warning: " not in line]
    assert len(lines) == 2 * len(commands), errors
    for command, line, code in zip(commands, lines[::2], lines[1::2], strict=True):
        assert line.startswith("mnist12k: error: ")
        assert re.search(cause, line)
        assert code == f"{command}: 2"


@pytest.mark.long
@pytest.mark.slow
def test_a_full_disk_is_named_by_every_command_and_no_output_changes(
    results: Path, unshare: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "workspace"
    shutil.copytree(results, folder, symlinks=True)
    for name in ("small", "small2"):
        (folder / name).mkdir()
    done = shell(folder, FULL_DISK, *unshare)
    assert done.stdout.startswith("digit.png: ")
    errors = done.stderr.partition("No space left on device\n")[2]  # that of the filler
    cause = "No space left on device|is the disk full"
    assert_each_fails_in_one_line(errors, cause, ["train", "backprop"])
    assert contents(folder / "small2") == contents(folder)


@pytest.mark.long
@pytest.mark.slow
def test_a_read_only_workspace_is_named_by_every_command_and_pictures_are_classified(
    results: Path, unshare: list[str]
) -> None:
    before = contents(results)
    done = shell(results, READ_ONLY, *unshare)
    assert done.stdout.startswith("digit.png: ")
    commands = ["evaluate", "publish"]
    assert_each_fails_in_one_line(done.stderr, "ead-only", commands)
    assert contents(results) == before


# Memory and handles


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "predict digit.png"])
def test_too_little_memory_is_named_before_anything_is_done(results: Path, command: str) -> None:
    done = shell(results, f"ulimit -v 300000; mnist12k {command}")
    assert_one_line(done, "not enough memory", "`ulimit -v` allows 300,000 kB")


def test_the_help_needs_little_memory(results: Path) -> None:
    assert shell(results, "ulimit -v 100000; mnist12k --help").returncode == 0


@pytest.mark.slow
def test_with_few_file_handles_a_command_works_or_fails_in_one_line(results: Path) -> None:
    before = contents(results)
    done = shell(results, "ulimit -n 6; mnist12k report")
    if done.returncode:
        assert_one_line(done, "oo many open files")
        assert contents(results) == before


# Standard streams


@pytest.mark.parametrize("command", ["--help", "train --help", "predict digit.png"])
def test_output_that_cannot_be_written_is_an_error(results: Path, command: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = shell(results, f"mnist12k {command} > /dev/full")
    assert_one_line(done, "standard output: No space left on device")


@pytest.mark.parametrize("command", ["--help", "promote --help", "predict digit.png"])
def test_a_reader_that_has_left_ends_the_command_silently(results: Path, command: str) -> None:
    done = shell(results, f"mnist12k {command} | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (141, "")


def test_a_reader_of_both_streams_that_has_left_ends_the_command_silently(results: Path) -> None:
    done = shell(results, "mnist12k predict empty.png 2>&1 | true; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("command", ["--help", "predict digit.png"])
def test_closed_standard_output_is_an_error(results: Path, command: str) -> None:
    assert_one_line(shell(results, f"mnist12k {command} >&-"), "standard output is closed")


@pytest.mark.parametrize(
    ("command", "stderr", "code"),
    [
        ("trian", "2>&-", 2),
        ("trian", "2> /dev/full", 2),
        ("predict empty.png", "2>&-", 2),
        ("predict - <&-", "2> /dev/full", 2),
    ],
)
def test_errors_that_nobody_can_read_do_not_change_the_exit_code_or_the_output(
    results: Path, command: str, stderr: str, code: int
) -> None:
    done = shell(results, f"mnist12k {command} {stderr}")
    assert done.returncode == code
    assert done.stderr == ""
    assert "error" not in done.stdout


def test_a_removed_current_folder_is_named(results: Path) -> None:
    script = "mkdir gone; cd gone; rmdir ../gone; mnist12k promote --version 1"
    assert_one_line(shell(results, script), "the current folder has been removed")


def test_a_warning_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        warn("unread")
        monkeypatch.undo()
        with suppress(OSError):
            full.close()


# What is one line, and what is a bug


def raised(function: Callable[[], object]) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def wrapped(cause: BaseException) -> Exception:
    """Return a library's error that it raised while it handled another one."""
    error = RuntimeError("unexpected")
    error.__context__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left", "a/b.csv"), "a/b.csv: No space left"),
        (OSError(errno.EROFS, "Read-only", "a/.tmp-1_x.csv"), "a: Read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), "a: Permission denied"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a"), "a: Not a directory"),
        (wrapped(OSError(errno.EFBIG, "File too large", "a")), "a: File too large"),
        (MemoryError(), "not enough memory"),
        (wrapped(MemoryError()), "not enough memory"),
        (
            ImportError("libx.so: failed to map segment from shared object"),
            "not enough memory (libx.so: failed to map segment from shared object)",
        ),
        (ImportError("libx.so: Too many open files"), "libx.so: Too many open files"),
        (RuntimeError("can't start new thread"), "can't start new thread"),
        (
            sqlite3.OperationalError("unable to open database file"),
            "unable to open database file",
        ),
        (
            RuntimeError("unexpected pos 1 vs 0"),
            "cannot be written; is the disk full, or `ulimit -f` too low?",
        ),
    ],
)
def test_a_fault_of_the_machine_is_one_line(error: Exception, line: str) -> None:
    assert explain(error) == line


def test_an_allocation_that_fails_in_pytorch_is_one_line() -> None:
    error = raised(lambda: torch.empty(1 << 55, dtype=torch.uint8))
    assert str(explain(error)).startswith("not enough memory (")


def test_a_failed_write_names_the_file_that_was_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    error = raised(lambda: write_json(tmp_path / "report.csv", {}))
    assert explain(error) == f"{tmp_path / 'report.csv'}: No space left on device"


@pytest.mark.parametrize(
    "error",
    [
        KeyError("loss"),
        TypeError("wrong"),
        ValueError("wrong"),
        OSError("no number"),
        OSError(errno.EBADF, "Bad file descriptor"),
        ModuleNotFoundError("No module named 'x'"),
        wrapped(FileNotFoundError(errno.ENOENT, "No such file", "a")),
    ],
)
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    assert explain(error) is None
    assert exit_code(error) is None

    def command() -> None:
        raise error

    with pytest.raises(type(error)):
        run_command(command)


def test_a_password_in_an_error_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(UserError("http://ann:SECRET@host refused")) == 2
    assert capsys.readouterr().err == "mnist12k: error: http://ann:***@host refused\n"


# Signals

STOPPING = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def test_a_second_signal_does_not_cut_the_cleanup_short() -> None:
    cleaned = []

    def command() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)
            try:
                raise ValueError
            except ValueError:
                signal.raise_signal(signal.SIGTERM)
            cleaned.append("all")

    handlers = [signal.getsignal(number) for number, _ in STOPPING]
    try:
        assert run_command(command) == 143
    finally:
        for (number, _), handler in zip(STOPPING, handlers, strict=True):
            signal.signal(number, handler)
    assert cleaned == ["all"]


def test_a_signal_during_a_finaliser_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    class Closing:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    def command() -> None:
        Closing()
        time.sleep(30)

    started = time.monotonic()
    with pytest.raises(Stopped), stoppable():
        command()
    assert time.monotonic() - started < 10
    assert capsys.readouterr().err == ""


def test_signals_are_left_alone_outside_the_main_thread() -> None:
    codes = []
    thread = threading.Thread(target=lambda: codes.append(run_command(lambda: 0)))
    thread.start()
    thread.join()
    assert codes == [0]


def test_signal_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number, _ in STOPPING]
    assert run_command(lambda: 0) == 0
    assert [signal.getsignal(number) for number, _ in STOPPING] == before


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), STOPPING[1:])
def test_a_signal_restores_the_outputs_and_ends_the_run_as_killed(
    results: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    folder = tmp_path / "workspace"
    shutil.copytree(results, folder, symlinks=True)
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(text.replace("epochs: 2", "epochs: 500"), "utf-8")
    before = contents(folder)
    with tune_command.start(folder, "train") as process:
        tune_command.read_until(process, "epoch   2/500")
        for _ in range(3):
            process.send_signal(number)
            time.sleep(0.05)
        output = process.communicate(timeout=60)[0]
    last = output.splitlines()[-1]
    assert last == f"mnist12k: stopped by {number.name}"
    assert "Traceback" not in output
    assert process.returncode == code
    assert contents(folder) == before
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mnist12k")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED"


@pytest.mark.slow
def test_a_command_started_by_nohup_survives_a_hang_up(results: Path) -> None:
    script = (
        "trap '' HUP; mnist12k predict - < <(sleep 2; cat digit.png) & sleep 1.5;"
        "kill -HUP $!; wait $!"
    )
    done = shell(results, script)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("stdin: ")


def processes(session: int) -> list[psutil.Process]:
    """Return the processes of a session."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.Error):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.fixture(scope="module")
def searching(idx_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose trainings take minutes."""
    folder = tmp_path_factory.mktemp("searching") / "workspace"
    tune_command.new_folder(folder, idx_folder, workers=2, recipe="best")
    for path in idx_folder.glob("t10k-*"):
        shutil.copy(path, folder / "data/mnist/MNIST/raw")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "number", "code", "to_group"),
    [
        ("seeds", signal.SIGTERM, 143, False),
        ("seeds", signal.SIGKILL, -9, False),
        ("tune", signal.SIGHUP, 129, True),
        ("tune", signal.SIGKILL, -9, False),
    ],
)
def test_no_worker_survives_its_command(
    searching: Path, command: str, number: signal.Signals, code: int, to_group: bool
) -> None:
    with tune_command.start(searching, command) as process:
        try:
            tune_command.read_until(process, "mnist12k-" if command == "tune" else "0 trainings")
            deadline = time.monotonic() + 60
            while len(processes(process.pid)) < 4:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            os.killpg(process.pid, number) if to_group else process.send_signal(number)
            output = process.communicate(timeout=60)[0]
            assert process.returncode == code
            if number != signal.SIGKILL:
                assert output.splitlines()[-1:] == [f"mnist12k: stopped by {number.name}"]
                assert "Traceback" not in output
            deadline = time.monotonic() + 20
            while processes(process.pid):
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_worker_of_seeds_that_is_killed_is_replaced_and_costs_no_training(
    searching: Path,
) -> None:
    with tune_command.start(searching, "seeds") as process:
        tune_command.read_until(process, "0 trainings")
        deadline = time.monotonic() + 60
        while len(workers := psutil.Process(process.pid).children()) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        workers[-1].kill()
        while not set(psutil.Process(process.pid).children()) - set(workers):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.terminate()
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 143
    assert "Traceback" not in output
