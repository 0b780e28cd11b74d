"""The pictures that a user names: files, folders, standard input."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from mnist12k.errors import UserError
from mnist12k.photos.read import FORMATS

STDIN = "-"
LARGEST = 1 << 28  # bytes read from standard input, which may never end


class Source(NamedTuple):
    """A picture's name and its file, None for standard input; or why the file is left out."""

    name: str
    path: Path | None
    left_out: str = ""

    def content(self) -> Path | bytes:
        """Return the file, or the content of standard input; UserError if it cannot be read."""
        if self.left_out:
            raise UserError(self.left_out)
        if self.path is not None:
            return self.path
        content = sys.stdin.buffer.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UserError(f"too large: at most {LARGEST >> 20} MiB are read from standard input")
        return content


def find_pictures(files: Sequence[str]) -> Iterator[Source]:
    """Yield the pictures that these names stand for.

    A folder stands for every file in it and below: pictures by their names, and the others with the
    reason why they are left out.
    """
    for name in files:
        if name == STDIN:
            yield Source("stdin", None)
        elif os.path.isdir(name):  # noqa: PTH112 - Path's raises an error for a name too long
            yield from _in_folder(Path(name))
        else:
            yield Source(name, Path(name))


def _in_folder(folder: Path) -> Iterator[Source]:
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
    suffixes |= {".avif", ".heic", ".heif", ".hif"}  # refused by name where they cannot be read
    found = []

    def unreadable(error: OSError) -> None:
        found.append(Source(error.filename, None, f"cannot be read: {error.strerror}"))

    for root, folders, names in os.walk(folder, onerror=unreadable):
        for path in (Path(root, name) for name in [*names, *folders]):
            if path.name in folders:
                if path.is_symlink():
                    found.append(Source(str(path), path, "left out: a link to a folder"))
            elif path.suffix.lower() in suffixes:
                found.append(Source(str(path), path))
            else:
                found.append(Source(str(path), path, "left out: no picture by its name"))
    yield from sorted(found) or [Source(str(folder), folder, "no picture in this folder")]
