"""Repair DVC's lock files, which a kill or a power failure can leave empty or torn."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from mnist12k.errors import UserError
from mnist12k.files import atomic_write, read_yaml
from mnist12k.paths import PIPELINE

RESOLVE = "keep one side (`git checkout --ours {}` or `--theirs`), then run `dvc repro`"
CONFLICT = re.compile(rb"^(<{7}|>{7}) ", re.MULTILINE)  # git's markers, as DVC finds them
SOURCES = {"": "git's index", "HEAD": "the last commit"}  # by revision


def report() -> None:
    """Repair and print one line per repair; raise UserError if a file has merge conflicts."""
    print("\n".join(repair_lock_files()) or "nothing to repair", flush=True)
    if conflict := check_conflicts():
        raise UserError(": ".join(conflict))


def repair_lock_files() -> list[str]:
    """Repair every dvc.lock that DVC cannot load; return one line per repair.

    Files with merge conflicts are left alone, since only the user knows which side is right.
    Raises UserError if a file cannot be repaired now.
    """
    damaged = (path for path in _lock_files() if not _has_conflicts(path) and _damage(path))
    return [line for path in damaged for line in _repair(path)]


def check_conflicts() -> tuple[str, str] | None:
    """Return which lock files have merge conflicts, and what to do, or None."""
    # The markers first: loading the files takes most of a second.
    conflicts = (path for path in _lock_files() if _has_conflicts(path) and _damage(path))
    paths = " ".join(map(str, conflicts))
    return (f"merge conflicts in {paths}", RESOLVE.format(paths)) if paths else None


def check_lock_file(path: Path) -> None:
    """Raise UserError if DVC cannot load a lock file, or if its end is missing."""
    from dvc.dvcfile import Lockfile
    from dvc.exceptions import DvcException

    content = read_yaml(path)
    if not path.stat().st_size:
        raise UserError(f"{path}: empty")
    try:
        Lockfile.validate(content or {}, str(path))  # as DVC does
    except DvcException as error:
        raise UserError(f"{path}: not a lock file: {error.__cause__ or error}") from error
    if not path.read_bytes().endswith(b"\n"):  # DVC may load it, with half a digest
        raise UserError(f"{path}: the last line is incomplete")


def _lock_files() -> list[Path]:
    name = PIPELINE.with_suffix(".lock")
    paths = (name, *sorted(Path("pipelines").glob(f"*/{name}")))
    return [path for path in paths if path.exists()]


def _damage(path: Path) -> str:
    """Return what is wrong with a lock file; empty if nothing is."""
    try:
        check_lock_file(path)
    except UserError as error:
        return " ".join(str(error).removeprefix(f"{path}").lstrip(": ").split())[:200]
    return ""


def _has_conflicts(path: Path) -> bool:
    return path.is_file() and CONFLICT.search(path.read_bytes()) is not None


def _repair(path: Path) -> list[str]:
    """Replace a damaged lock file by git's version, or remove it; keep the damaged one."""
    from dvc.lock import LockError

    try:
        with _without_dvc():
            damage = _damage(path) if path.exists() else ""
            return [f"repaired {path} ({damage}): {_replace(path)}"] if damage else []
    except LockError as error:
        raise UserError(f"{path} is damaged, and another DVC command is running") from error
    except OSError as error:
        raise UserError(f"{path} cannot be repaired: {error.strerror or error}") from error


@contextlib.contextmanager
def _without_dvc() -> Iterator[None]:
    """Keep other DVC commands waiting: DVC empties a lock file before it writes it."""
    from dvc.lock import make_lock

    if not (folder := Path(".dvc")).is_dir():
        yield
        return
    (folder / "tmp").mkdir(exist_ok=True)
    with make_lock(str(folder / "tmp/lock")):
        yield


def _replace(path: Path) -> str:
    kept = _free_name(path.with_name(f"{path.name}.damaged"))
    for revision, source in SOURCES.items():
        with contextlib.suppress(UserError), atomic_write(path) as temporary:
            temporary.write_bytes(version_in_git(revision, path))
            check_lock_file(temporary)
            path.rename(kept)
            return f"restored it from {source}, kept the damaged one as {kept}"
    path.rename(kept)
    return f"git has no intact version, so `dvc repro` writes a new one; moved it to {kept}"


def version_in_git(revision: str, path: Path) -> bytes:
    """Return git's version of a file; empty if there is none, or no git."""
    command = ["git", "show", f"{revision}:./{path.as_posix()}"]
    try:
        return subprocess.run(command, capture_output=True, check=False).stdout  # noqa: S603
    except OSError:
        return b""


def _free_name(path: Path) -> Path:
    names = (path, *(path.with_name(f"{path.name}.{number}") for number in range(1, 1000)))
    return next(name for name in names if not name.exists() and not name.is_symlink())
