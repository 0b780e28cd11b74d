"""Digests of a training's inputs, computed as DVC computes them."""

import contextlib
import hashlib
import json
import subprocess
from pathlib import Path

from pydantic import BaseModel

from mnist12k.errors import UserError, warn
from mnist12k.files import is_temporary, read_yaml
from mnist12k.paths import PIPELINE


def file_md5(path: Path) -> str:
    """Return the hexadecimal MD5 of a file's bytes, as in dvc.lock."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def folder_md5(folder: Path) -> str:
    """Return DVC's digest of a folder: the MD5 of the JSON list of its files and their MD5s.

    Compiled Python files and temporary files are left out, as in .dvcignore.
    """
    files = [path for path in folder.rglob("*") if path.is_file() and not is_temporary(path)]
    files = [path for path in files if "__pycache__" not in path.parts]
    entries = [{"md5": file_md5(f), "relpath": f.relative_to(folder).as_posix()} for f in files]
    entries.sort(key=lambda entry: tuple(entry["relpath"].split("/")))
    content = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir"


def git_state() -> tuple[str, str] | None:
    """Return the current commit's digest, and whether the working tree is clean: true or false.

    None outside of git and before the first commit; and, after a warning, if git does not work.
    """
    try:
        import git  # raises ImportError without a git executable

        with contextlib.suppress(git.InvalidGitRepositoryError, ValueError):
            repository = git.Repo(search_parent_directories=True)
            return repository.head.commit.hexsha, str(not repository.is_dirty()).lower()
    except Exception as error:  # a broken repository leads to any of them
        lines = str(error).strip().splitlines() or [type(error).__name__]
        warn(f"the git commit is unknown ({_git_fault() or lines[0]})")
    return None


def _git_fault() -> str:
    """Return in one line what git itself says, such as that the folder is another user's."""
    with contextlib.suppress(OSError):
        command = ["git", "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        return " ".join(done.stderr.split()).removeprefix("fatal: ")
    return ""


def training_fingerprint(settings: BaseModel) -> str:
    """Return 32 hexadecimal digits that identify a training's settings, data and code.

    Data and code are the dependencies of the stage `train` in dvc.yaml.
    """
    try:
        dependencies = sorted(read_yaml(PIPELINE)["stages"]["train"]["deps"])
        digests = {name: _md5(Path(name)) for name in dependencies}
    except (KeyError, TypeError) as error:
        raise UserError(f"{PIPELINE}: the stage train has no list of deps") from error
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; `dvc repro train`") from error
    identity = {"settings": settings.model_dump(), "dependencies": digests}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


def _md5(path: Path) -> str:
    return folder_md5(path) if path.is_dir() else file_md5(path)
