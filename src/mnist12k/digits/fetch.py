"""Fetch MNIST: from whichever source answers, verified, and in place all at once or not at all."""

import contextlib
import hashlib
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

from mnist12k.digits.sources import SourceError, sources
from mnist12k.errors import UserError

RAW = Path("MNIST/raw")  # where torchvision looks below its root
# What a network, an archive or a disk may raise on the way: then the next source is tried.
FAILURES = (SourceError, OSError, HTTPException, zlib.error, EOFError, KeyError, tarfile.TarError)


def fetch(source: str, sha256: Mapping[str, str], root: Path) -> str:
    """Put the files named in `sha256` into root/MNIST/raw; return the name of their source.

    Files that are there and right stay. Every file's digest is checked before anything is moved.
    `root` appears by one rename, and a former one is replaced; whatever is interrupted leaves it
    as it was.

    Raises UserError, with each source and why it failed, if none gives the right files.
    """
    if all((root / RAW / name).is_file() for name in sha256):
        with contextlib.suppress(SourceError):
            _verify(root / RAW, sha256)
            return "an earlier fetch"
    failures = []
    root.parent.mkdir(parents=True, exist_ok=True)
    for name, fill in sources(source).items():
        with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as folder:
            raw = Path(folder) / "new" / RAW
            raw.mkdir(parents=True)
            try:
                fill(raw, sha256)
                _verify(raw, sha256)
            except FAILURES as error:
                failures.append(f"  {name}: {error}")
                continue
            if root.exists():
                root.rename(Path(folder) / "old")
            shutil.move(raw.parents[1], root)
            return name
    raise UserError(
        "\n".join(
            [
                "MNIST could not be fetched:",
                *failures,
                "Put the four files, gzipped or not, into a folder and name it:",
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
