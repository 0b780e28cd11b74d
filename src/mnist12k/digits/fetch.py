"""Get the data set from the first source that works, verified and moved into place at once."""

import contextlib
import errno
import hashlib
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

from mnist12k.digits.settings import IDX_FILES, RAW
from mnist12k.digits.sources import SourceError, sources
from mnist12k.errors import UserError
from mnist12k.files import temporary_folder

# What a network, an archive or a disk may raise; the next source is then tried.
FAILURES = (SourceError, OSError, HTTPException, zlib.error, EOFError, KeyError, tarfile.TarError)
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE}


def fetch(source: str, sha256: Mapping[str, str] | None, root: Path) -> str:
    """Put the four IDX files into root/MNIST/raw; return the name of their source.

    Files with the right digests are kept. Otherwise every digest is checked before `root` is
    replaced by one rename, so that an interruption leaves it unchanged. Without digests the files
    are copied again.

    Raises UserError, which lists each source and why it failed, if none has the right files.
    """
    if sha256 is not None and all((root / RAW / name).is_file() for name in sha256):
        with contextlib.suppress(SourceError):
            _verify(root / RAW, sha256)
            return "an earlier download"
    failures = []
    root.parent.mkdir(parents=True, exist_ok=True)
    for name, fill in sources(source).items():
        with temporary_folder(root.parent) as folder:
            raw = folder / "new" / RAW
            raw.mkdir(parents=True)
            try:
                fill(raw, IDX_FILES)
                _verify(raw, sha256 or {})
            except FAILURES as error:
                if isinstance(error, OSError) and error.errno in FULL:  # every source needs space
                    raise
                failures.append(f"  {name}: {error}")
                continue
            if root.exists():
                root.rename(folder / "old")
            shutil.move(raw.parents[1], root)
            return name
    raise UserError(
        "\n".join(
            [
                "the data set could not be fetched:",
                *failures,
                "Put the four files, gzipped or not, into a folder, and name the folder:",
                "  dvc exp run -S fetch.source=FOLDER  (or fetch.source in params.yaml)",
            ]
        )
    )


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(raw: Path, sha256: Mapping[str, str]) -> None:
    for name, expected in sha256.items():
        found = file_sha256(raw / name)
        if found != expected:
            raise SourceError(f"{name} has SHA-256 {found}, not {expected}")
