"""Restore what DVC removed before a stage that then failed."""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mnist12k.errors import UserError, warn
from mnist12k.files import atomic_write, read_json, read_yaml, write_json
from mnist12k.fingerprint import file_md5
from mnist12k.paths import CHECKPOINTS, PIPELINE, store_root
from mnist12k.repairs import SOURCES, version_in_git

COPIES = CHECKPOINTS / "outputs"  # below the store's root: outputs by their MD5
# Outputs of a stage that was last run without DVC, and those in dvc.lock at that time.
WITHOUT_DVC = "without_dvc.json"

Outputs = dict[str, str]  # MD5 by path


@contextmanager
def restored_on_failure(stage: str, paths: Sequence[Path]) -> Iterator[None]:
    """Restore the stage's outputs if the block fails; keep copies of them if it succeeds.

    DVC removes a stage's outputs before it runs the stage, and dvc.lock says which they were.
    Copies are in checkpoints/, in DVC's cache or in git.
    """
    try:
        yield
    except BaseException:
        if _in_dvc(stage):  # else the outputs are still there
            _restore(stage, [path for path in paths if not path.exists()])
        raise
    with contextlib.suppress(OSError):  # the stage has succeeded, with copies or without
        _keep(stage, paths)


def _restore(stage: str, missing: Sequence[Path]) -> None:
    outputs = _locked(stage)
    with contextlib.suppress(UserError):  # there is none
        last = read_json(_copies() / WITHOUT_DVC, dict[str, Outputs])
        if last["locked"] == outputs:
            outputs = last["outputs"]
    lost = []
    for path in missing:
        content = _find(path, outputs.get(str(path), ""))
        if content is None:
            lost += [str(path)] if str(path) in outputs else []
            continue
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    if lost:
        warn(f"no copy of the previous {', '.join(lost)}; `dvc pull` restores what was pushed")


def _keep(stage: str, paths: Sequence[Path]) -> None:
    outputs = {str(path): file_md5(path) for path in paths}
    for path in paths:
        with atomic_write(_copies() / outputs[str(path)]) as temporary:
            temporary.write_bytes(path.read_bytes())
    if _in_dvc(stage):
        (_copies() / WITHOUT_DVC).unlink(missing_ok=True)  # dvc.lock will describe them
    else:
        write_json(_copies() / WITHOUT_DVC, {"locked": _locked(stage), "outputs": outputs})


def _locked(stage: str) -> Outputs:
    """Return the stage's outputs by dvc.lock, which DVC replaces after the stage."""
    try:
        outs = read_yaml(PIPELINE.with_suffix(".lock"))["stages"][stage]["outs"]
        return {out["path"]: out["md5"] for out in outs}
    except (UserError, KeyError, TypeError):
        return {}


def _in_dvc(stage: str) -> bool:
    """Return whether DVC runs the stage; its name follows the path of dvc.yaml, if any."""
    return os.environ.get("DVC_STAGE", "").rpartition(":")[2] == stage


def _find(path: Path, md5: str) -> bytes | None:
    """Return the content with this MD5, or None."""
    for copy in (_copies() / md5, store_root() / ".dvc/cache/files/md5" / md5[:2] / md5[2:]):
        with contextlib.suppress(OSError):
            content = copy.read_bytes()
            if _md5(content) == md5:
                return content
    versions = (version_in_git(revision, path) for revision in SOURCES)
    return next((content for content in versions if _md5(content) == md5), None)


def _copies() -> Path:
    return store_root() / COPIES


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
