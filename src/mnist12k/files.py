"""Files that are either whole or not there."""

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside `path` to write to; rename it into place if the block ends well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        beside.chmod(0o666 & ~_umask())  # mkstemp's files are the owner's alone
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def put_back_on_failure(paths: Sequence[Path], folder: Path) -> Iterator[None]:
    """Copy `paths` into `folder` if the block ends well; if not, put back those that are gone.

    DVC removes a stage's outputs before it runs the stage: a stage that then fails gives back the
    ones of its last good run.
    """
    try:
        yield
    except BaseException:
        for path in paths:
            if not path.exists() and (folder / path).is_file():
                _copy(folder / path, path)
        raise
    for path in paths:
        _copy(path, folder / path)


def _copy(source: Path, target: Path) -> None:
    with written_whole(target) as beside:
        shutil.copyfile(source, beside)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text with the same line ends on every platform, so that digests agree."""
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write strict JSON (a NaN is an error), indented for people."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_csv(
    path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Write a CSV file; floats keep every digit that they need to be read back the same."""
    with written_whole(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
