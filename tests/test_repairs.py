"""Whatever a kill or a power failure leaves of dvc.lock, `mnist12k repair` makes it loadable."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dvc.dvcfile import Lockfile
from dvc.lock import make_lock
from dvc.utils import strictyaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from project import ROOT, Project, git
from workspace import inside

from mnist12k import doctor
from mnist12k.cli import main
from mnist12k.errors import UserError
from mnist12k.repairs import check_conflicts, repair_lock_files

LOCK_FILES = [Path("dvc.lock"), Path("pipelines/seeds/dvc.lock"), Path("pipelines/tune/dvc.lock")]
LOCK_FILE = LOCK_FILES[0]
CONTENT = (ROOT / LOCK_FILE).read_bytes()
COPIED = (".gitignore", ".dvc/.gitignore", "params.yaml", "dvc.yaml")
MAKE_REPRO = ("make", "-o", ".venv/.installed", "repro")  # -o: it is installed


def write(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def change(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").touch()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": write(b""),
    "half": change(lambda content: content[: content.rindex(b":", 0, len(content) // 2)]),
    "last line torn": change(lambda content: content[:-3]),
    "NUL bytes": change(lambda content: bytes(len(content))),
    "NUL bytes at the end": change(lambda content: content[:600] + bytes(400)),
    "not UTF-8": write(b"\xff\xfe\x00schema"),
    "a list": write(b"[1, 2]\n"),
    "a number": write(b"42\n"),
    "another schema": write(b"schema: '3.0'\nstages: {}\n"),
    "another shape": write(b"schema: '2.0'\nstages:\n  train: [1]\n"),
    "nested without end": write(b"schema: &a [*a]\n"),
    "a folder": make_folder,
}
if hasattr(os, "mkfifo"):
    DAMAGES["a pipe"] = make_pipe


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "state")


def loads(path: Path) -> bool:
    """Return whether DVC loads a lock file; it raises an error otherwise."""
    return bool(strictyaml.load(str(path), Lockfile.SCHEMA))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with nothing but the pipelines, their lock files and the parameters."""
    folder = tmp_path_factory.mktemp("template") / "repository"
    for path in (*LOCK_FILES, *map(Path, COPIED)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    git(folder, "init", "-qb", "main")
    commit(folder)
    return folder


@pytest.fixture
def repository(template: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the repository for one test, and the current folder during it."""
    folder = tmp_path / "repository"
    shutil.copytree(template, folder)
    with inside(folder):
        yield folder


@pytest.mark.usefixtures("repository")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(end=st.integers(0, len(CONTENT) - 1))
@pytest.mark.long
def test_dvc_loads_a_lock_file_that_was_cut_anywhere(end: int) -> None:
    LOCK_FILE.write_bytes(CONTENT[:end])
    repaired = repair_lock_files()
    assert loads(LOCK_FILE)
    if repaired:
        assert LOCK_FILE.read_bytes() == CONTENT
    else:  # a whole number of stages' lines, which DVC completes
        assert CONTENT[:end].endswith(b"\n")


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("path", LOCK_FILES, ids=str)
@pytest.mark.parametrize("damage", DAMAGES)
def test_any_damage_is_one_line_and_git_has_the_version_from_before(
    path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = path.read_bytes()
    DAMAGES[damage](path)
    damaged = path.read_bytes() if path.is_file() else None
    assert main(["repair"]) == 0
    kept = path.with_name("dvc.lock.damaged")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"repaired {path} (")
    assert line.endswith(f"): restored it from git's index, kept the damaged one as {kept}")
    assert path.read_bytes() == before
    assert (kept.read_bytes() if kept.is_file() else None) == damaged
    assert kept.is_dir() == (damage == "a folder")
    assert git(Path(), "status", "--porcelain") == ""  # the damaged one is ignored
    assert main(["repair"]) == 0
    assert capsys.readouterr().out == "nothing to repair\n"


@pytest.mark.usefixtures("repository")
def test_no_damaged_file_is_overwritten() -> None:
    for number in range(3):
        LOCK_FILE.write_bytes(b"%d" % number)
        assert repair_lock_files()
    kept = [Path(f"dvc.lock.damaged{suffix}").read_bytes() for suffix in ("", ".1", ".2")]
    assert kept == [b"0", b"1", b"2"]


@pytest.mark.usefixtures("repository")
def test_a_staged_version_comes_first_and_a_damaged_one_is_skipped() -> None:
    staged = CONTENT[: CONTENT.index(b"  evaluate:\n    cmd")]
    LOCK_FILE.write_bytes(staged)
    git(Path(), "add", "dvc.lock")
    LOCK_FILE.write_bytes(b"")
    assert "from git's index" in repair_lock_files()[0]
    assert LOCK_FILE.read_bytes() == staged
    LOCK_FILE.write_bytes(b"")
    git(Path(), "add", "dvc.lock")
    assert "from the last commit" in repair_lock_files()[0]
    assert LOCK_FILE.read_bytes() == CONTENT


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("missing", ["repository", "executable", "version"])
def test_without_an_intact_version_in_git_the_file_is_moved_away(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    LOCK_FILE.write_bytes(b"torn")
    if missing == "repository":
        shutil.rmtree(".git")
    elif missing == "executable":
        monkeypatch.setenv("PATH", "")
    else:
        commit(Path())
    (line,) = repair_lock_files()
    assert "`dvc repro` writes a new one; moved it to dvc.lock.damaged" in line
    assert not LOCK_FILE.exists()
    assert Path("dvc.lock.damaged").read_bytes() == b"torn"
    assert repair_lock_files() == []  # a new project has none


@pytest.mark.usefixtures("repository")
def test_a_merge_conflict_is_left_alone_and_its_advice_resolves_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    git(Path(), "checkout", "-qb", "theirs")
    LOCK_FILE.write_bytes(CONTENT.replace(b"size: ", b"size: 1", 1))
    commit(Path())
    git(Path(), "checkout", "-q", "main")
    ours = CONTENT.replace(b"size: ", b"size: 2", 1)
    LOCK_FILE.write_bytes(ours)
    commit(Path())
    with pytest.raises(subprocess.CalledProcessError):
        git(Path(), "-c", "user.name=t", "-c", "user.email=t@t", "merge", "-q", "theirs")
    conflict = LOCK_FILE.read_bytes()
    LOCK_FILES[1].write_bytes(b"")
    assert main(["repair"]) == 2
    out, error = capsys.readouterr()
    assert out.startswith("repaired pipelines/seeds/dvc.lock (empty)")
    assert error == (
        "mnist12k: error: merge conflicts in dvc.lock: keep one side "
        "(`git checkout --ours dvc.lock` or `--theirs`), then run `dvc repro`\n"
    )
    assert LOCK_FILE.read_bytes() == conflict
    assert list(doctor.check_lock_files()) == [check_conflicts()]
    git(Path(), "checkout", "--ours", "dvc.lock")
    assert LOCK_FILE.read_bytes() == ours
    assert main(["repair"]) == 0


@pytest.mark.usefixtures("repository")
def test_a_file_that_a_running_dvc_may_be_writing_is_left_alone() -> None:
    Path(".dvc/tmp").mkdir()
    LOCK_FILE.write_bytes(b"")
    with make_lock(".dvc/tmp/lock"):
        with pytest.raises(UserError, match=r"^dvc.lock is damaged, and another DVC command"):
            repair_lock_files()
        (check,) = doctor.check_lock_files()
        assert check.fix
    assert LOCK_FILE.read_bytes() == b""
    assert repair_lock_files()


@pytest.mark.usefixtures("repository")
def test_the_doctor_repairs_and_says_so() -> None:
    LOCK_FILE.write_bytes(b"")
    (check,) = doctor.check_lock_files()
    assert check.result.startswith("repaired dvc.lock (empty): restored it from git's index")
    assert check.fix == ""
    assert list(doctor.check_lock_files()) == []


@pytest.mark.long
@pytest.mark.slow
def test_after_a_repair_dvc_finds_everything_up_to_date(project: Project) -> None:
    for damage in DAMAGES.values():
        damage(project.root / LOCK_FILE)
        assert "repaired dvc.lock" in project.run("mnist12k", "repair", cwd=project.root / "src")
        assert "up to date" in project.run("dvc", "status", "dvc.yaml")


@pytest.mark.long
@pytest.mark.slow
def test_make_repro_after_dvc_lock_was_emptied_reruns_nothing(project: Project) -> None:
    (project.root / LOCK_FILE).write_bytes(b"")
    project.run("dvc", "repro", code=255)  # DVC alone fails
    output = project.run(*MAKE_REPRO)
    assert "repaired dvc.lock (empty)" in output
    assert "Running stage" not in output
    assert len(project.runs()) == 1


@pytest.mark.long
@pytest.mark.slow
def test_make_repro_without_a_version_in_git_ends_with_the_same_results(project: Project) -> None:
    before = project.contents()
    (project.root / LOCK_FILE).write_bytes(b"")
    shutil.rmtree(project.root / ".git")
    project.run("git", "init", "-q")
    assert "moved it to dvc.lock.damaged" in project.run(*MAKE_REPRO)
    assert project.contents() == before
