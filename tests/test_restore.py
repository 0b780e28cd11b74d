"""A training that fails leaves what lay there before it began."""

import hashlib
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from project import TRAINED, Project, git

from mnist12k.errors import UserError
from mnist12k.restore import keep_copies, restore_finished, restored_on_failure

REPRO = ("dvc", "repro", "train")


OLD, NEW = b"old\n", b"new\n"
PATH = Path("reports/history.csv")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in git in which DVC has just removed the output of a stage, that dvc.lock names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "train")
    write_lock(OLD)
    PATH.parent.mkdir()
    git(tmp_path, "init", "-q")


def write_lock(content: bytes) -> None:
    out = {"path": str(PATH), "md5": md5(content)}
    Path("dvc.lock").write_text(json.dumps({"stages": {"train": {"outs": [out]}}}))


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def run_stage(content: bytes | None) -> None:
    """Write the output, or fail."""
    with restored_on_failure("train", [PATH]):
        PATH.unlink(missing_ok=True)
        if content is None:
            raise UserError("diverged")
        PATH.write_bytes(content)
        keep_copies("train", [PATH], "work")


def put_into_copies(_: Path) -> None:
    run_stage(OLD)
    run_stage(NEW)


def put_into_dvc(folder: Path) -> None:
    path = folder / ".dvc/cache/files/md5" / md5(OLD)[:2] / md5(OLD)[2:]
    path.parent.mkdir(parents=True)
    path.write_bytes(OLD)


def put_into_index(folder: Path) -> None:
    PATH.write_bytes(OLD)
    git(folder, "add", str(PATH))


def put_into_commit(folder: Path) -> None:
    put_into_index(folder)
    git(folder, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "old")
    git(folder, "rm", "-q", "--cached", str(PATH))


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize("put", [put_into_copies, put_into_dvc, put_into_index, put_into_commit])
def test_an_output_is_restored_from_wherever_a_copy_is(
    tmp_path: Path, put: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path)
    with pytest.raises(UserError, match="diverged"):
        run_stage(None)
    assert PATH.read_bytes() == OLD
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("stage")
def test_a_damaged_copy_is_not_restored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_into_copies(tmp_path)
    (tmp_path / "checkpoints/outputs" / md5(OLD)).write_bytes(b"o")
    with pytest.raises(UserError, match="diverged"):
        run_stage(None)
    assert not PATH.exists()
    assert f"no copy of the previous {PATH}; `dvc pull` restores" in capsys.readouterr().err


@pytest.mark.usefixtures("stage")
def test_what_ran_without_dvc_since_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    run_stage(OLD)
    monkeypatch.delenv("DVC_STAGE")
    run_stage(NEW)
    monkeypatch.setenv("DVC_STAGE", "../dvc.yaml:train")
    with pytest.raises(UserError, match="diverged"):
        run_stage(None)
    assert PATH.read_bytes() == NEW


@pytest.mark.usefixtures("stage")
def test_what_dvc_was_killed_before_it_recorded_is_not_done_again() -> None:
    run_stage(NEW)
    PATH.unlink()
    assert restore_finished("train", "work")
    assert PATH.read_bytes() == NEW


@pytest.mark.usefixtures("stage")
def test_work_is_done_again_if_it_was_recorded_or_another_or_without_dvc_or_its_copy_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not restore_finished("train", "work")
    run_stage(NEW)
    assert not restore_finished("train", "other work")
    write_lock(NEW)
    assert not restore_finished("train", "work")
    write_lock(OLD)
    with monkeypatch.context() as outside:
        outside.delenv("DVC_STAGE")
        assert not restore_finished("train", "work")
        run_stage(NEW)
    assert not restore_finished("train", "work")
    run_stage(NEW)
    (tmp_path / "checkpoints/outputs" / md5(NEW)).write_bytes(b"n")
    assert not restore_finished("train", "work")


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize("lock", [None, "", "stages: [", "stages: {train: {outs: 1}}"])
def test_without_a_usable_lock_nothing_is_restored(
    lock: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("dvc.lock").unlink()
    if lock is not None:
        Path("dvc.lock").write_text(lock)
    with pytest.raises(UserError, match="diverged"):
        run_stage(None)
    assert not PATH.exists()
    assert capsys.readouterr().err == ""


def outputs(project: Project) -> list[bytes | None]:
    paths = [project.root / path for path in TRAINED]
    return [path.read_bytes() if path.exists() else None for path in paths]


def train_another(project: Project) -> None:
    project.edit("seed: 1\n", "seed: 2\n")
    project.run(*REPRO)


def diverge(project: Project) -> str:
    project.edit("learning_rate: null", "learning_rate: 1e20")
    return project.run(*REPRO, code=255)


@pytest.mark.slow
@pytest.mark.long
def test_what_git_and_dvc_have_checked_out_is_restored(project: Project) -> None:
    before = outputs(project)
    train_another(project)
    assert outputs(project) != before
    project.git("checkout", "-q", ".")
    project.run("dvc", "checkout")
    assert outputs(project) == before
    diverge(project)
    assert outputs(project) == before


@pytest.mark.slow
@pytest.mark.long
def test_a_training_without_dvc_is_restored(project: Project) -> None:
    before = outputs(project)
    project.edit("seed: 1\n", "seed: 2\n")
    project.run("mnist12k", "train")
    second = outputs(project)
    assert second != before
    diverge(project)
    assert outputs(project) == second


@pytest.mark.slow
@pytest.mark.long
def test_a_training_that_finished_before_dvc_was_killed_is_not_run_again(project: Project) -> None:
    lock = (project.root / "dvc.lock").read_bytes()
    train_another(project)
    before, runs = outputs(project), [run.info.run_id for run in project.runs()]
    (project.root / "dvc.lock").write_bytes(lock)  # as if DVC had been killed
    shutil.rmtree(project.root / ".dvc/cache/runs")
    assert "this training was finished" in project.run(*REPRO)
    assert outputs(project) == before
    assert [run.info.run_id for run in project.runs()] == runs


@pytest.mark.slow
@pytest.mark.long
def test_a_clone_without_the_model_restores_what_git_has_and_names_the_rest(
    project: Project,
) -> None:
    before = outputs(project)
    for path in (".dvc/cache", "checkpoints"):
        shutil.rmtree(project.root / path)
    for path in TRAINED[:3]:
        (project.root / path).unlink()
    output = diverge(project)
    assert outputs(project) == [None, None, None, *before[3:]]
    lost = "models/cnn.pt, models/epochs.npy, reports/train/result.json"
    assert f"no copy of the previous {lost}; `dvc pull` restores" in output


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_training_is_restored_and_its_run_killed(
    project: Project, number: signal.Signals
) -> None:
    before = outputs(project)
    project.edit("epochs: 2", "epochs: 500")
    with project.training(*REPRO) as process:
        descendants = psutil.Process(process.pid).children(recursive=True)
        assert outputs(project)[:2] == [None, None]
        for descendant in descendants:
            if "mnist12k" in descendant.name():
                descendant.send_signal(number)
        rest, _ = process.communicate(timeout=60)
    assert "mnist12k: stopped" in rest
    assert "Traceback" not in rest
    assert outputs(project) == before
    assert {run.info.status for run in project.runs()} == {"KILLED", "FINISHED"}


@pytest.mark.slow
@pytest.mark.long
def test_a_training_that_is_still_running_is_not_begun_twice(project: Project) -> None:
    before = outputs(project)
    project.edit("epochs: 2", "epochs: 500")
    with project.training("mnist12k", "train") as process:
        output = project.run(*REPRO, code=255)
        process.kill()
    assert "mnist12k: error: another process runs this training; wait for it or stop it" in output
    assert outputs(project) == before
