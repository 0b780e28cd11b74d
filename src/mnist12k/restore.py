"""Restore what DVC removed before a stage that then failed, or that was already finished."""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel

from mnist12k.errors import UserError, warn
from mnist12k.files import atomic_write, read_json, read_yaml, write_json
from mnist12k.fingerprint import file_md5
from mnist12k.paths import CHECKPOINTS, PIPELINE, store_root
from mnist12k.repairs import SOURCES, version_in_git

# Below the store's root: outputs by their MD5, and what is known of those of the last success.
COPIES = CHECKPOINTS / "outputs"
LAST = "last.json"

Outputs = dict[str, str]  # MD5 by path


class Last(BaseModel):
    """The stage's last success: which work it was, who ran it, what dvc.lock said before it."""

    identity: str
    in_dvc: bool
    locked: Outputs
    outputs: Outputs


@contextmanager
def restored_on_failure(stage: str, paths: Sequence[Path]) -> Iterator[None]:
    """Restore the stage's outputs if the block fails.

    DVC removes a stage's outputs before it runs the stage, and dvc.lock says which they were.
    Copies are in checkpoints/, in DVC's cache or in git.
    """
    try:
        yield
    except BaseException:
        if in_dvc(stage):  # else the outputs are still there
            _restore(stage, [path for path in paths if not path.exists()])
        raise


def keep_copies(stage: str, paths: Sequence[Path], identity: str) -> None:
    """Keep copies of the outputs of a stage that has done the work with this identity."""
    outputs = {str(path): file_md5(path) for path in paths}
    last = Last(identity=identity, in_dvc=in_dvc(stage), locked=_locked(stage), outputs=outputs)
    with contextlib.suppress(OSError):  # the stage has succeeded, with copies or without
        for path in paths:
            _write(_copies() / outputs[str(path)], path.read_bytes())
        write_json(_copies() / LAST, last)


def restore_finished(stage: str, identity: str) -> bool:
    """Restore the outputs of this work, and return True, if DVC lost them.

    DVC runs a stage again if it was killed after the stage's end and before it wrote dvc.lock.
    """
    last = _last()
    if not (last and last.in_dvc and in_dvc(stage) and last.identity == identity):
        return False
    if last.outputs == _locked(stage):  # it has them, and was told to run the stage again
        return False
    for name, md5 in last.outputs.items():
        content = _find(Path(name), md5)
        if content is None:
            return False
        _write(Path(name), content)
    return True


def in_dvc(stage: str) -> bool:
    """Return whether DVC runs the stage; its name follows the path of dvc.yaml, if any."""
    return os.environ.get("DVC_STAGE", "").rpartition(":")[2] == stage


def _restore(stage: str, missing: Sequence[Path]) -> None:
    outputs, last = _locked(stage), _last()
    if last and not last.in_dvc and last.locked == outputs:  # it ran since, and DVC does not know
        outputs = last.outputs
    lost = []
    for path in missing:
        content = _find(path, outputs.get(str(path), ""))
        if content is not None:
            _write(path, content)
        elif str(path) in outputs:
            lost.append(str(path))
    if lost:
        warn(f"no copy of the previous {', '.join(lost)}; `dvc pull` restores what was pushed")


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def _last() -> Last | None:
    with contextlib.suppress(UserError):
        return read_json(_copies() / LAST, Last)
    return None


def _locked(stage: str) -> Outputs:
    """Return the stage's outputs by dvc.lock, which DVC replaces after the stage."""
    try:
        outs = read_yaml(PIPELINE.with_suffix(".lock"))["stages"][stage]["outs"]
        return {out["path"]: out["md5"] for out in outs}
    except (UserError, KeyError, TypeError):
        return {}


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
