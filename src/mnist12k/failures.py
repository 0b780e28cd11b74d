"""What the machine did to a command, in one line. Anything else is a bug."""

import errno
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import suppress
from io import IOBase
from pathlib import Path

from mnist12k.streams import STREAMS

# The machine has too little of something, whatever exception that led to in the end.
SCARCE = {
    getattr(errno, name, None)
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG", "EROFS"),
        *("EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EIO"),
    )
}
# A file or folder is not as it has to be.
MISPLACED = {
    getattr(errno, name, None)
    for name in (
        *("EACCES", "EPERM", "ENOENT", "EEXIST", "ENOTDIR", "EISDIR", "ENOTEMPTY", "EXDEV"),
        *("ELOOP", "ENAMETOOLONG", "EBUSY", "ETXTBSY", "ESTALE", "ENXIO", "ENODEV", "EPIPE"),
    )
}
FORBIDDEN = {errno.EACCES, errno.EPERM}
CLONE = "work in a clone of your own, docs/share-results.md"
# Libraries report the same in their own words: the loader, PyTorch, CUDA, Python, SQLite.
MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|failed to map segment|bad_alloc|out of memory"
    r"|alloc_failed",
    re.IGNORECASE,
)
OTHERS = re.compile(
    r"can't start new thread|too many open files|no space left on device|file too large"
    r"|read-only file system|unable to open database file|disk i/o error"
    r"|database or disk is full|readonly database",
    re.IGNORECASE,
)
TORN = re.compile(r"unexpected pos \d+")  # PyTorch's own writer names no reason


def explain(error: BaseException) -> str | None:
    """Return, in one line, how the machine or the workspace caused an error; None for a bug."""
    if isinstance(error, OSError) and error.errno in MISPLACED:
        line = _with_file(error, error.strerror or str(error))
        outside = error.errno not in FORBIDDEN or line.startswith("/")
        owner = "" if outside else other_owner(Path())
        return f"{line} (the project belongs to {owner}: {CLONE})" if owner else line
    for each in chain(error):
        if isinstance(each, OSError) and each.errno in SCARCE:
            return _with_file(each, each.strerror or str(each))
    for each in chain(error):
        text = " ".join(str(each).split())[:200]
        if isinstance(each, MemoryError) or MEMORY.search(text):
            return f"not enough memory ({text})" if text else "not enough memory"
        if TORN.search(text):
            return _with_file(each, "cannot be written; is the disk full, or `ulimit -f` too low?")
        if OTHERS.search(text):
            return _with_file(each, text)
        if type(each).__name__ == "OperationalError":  # any database's
            return text.partition(" [SQL:")[0].partition(" (Background on")[0]
    return None


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those that it was raised from or while handling."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def other_owner(path: Path) -> str:
    """Return the name of the user who owns a path; empty if that is this user, or this is root."""
    with suppress(AttributeError, OSError):  # Windows has no such numbers
        uid = path.stat().st_uid
        if os.geteuid() in (uid, 0):
            return ""
        with suppress(KeyError):  # a container may not know the name
            return path.owner()
        return f"user {uid}"
    return ""


def _with_file(error: BaseException, reason: str) -> str:
    """Put the file in front of the reason: the error's, else the one that was being written.

    A failed write does not know its file, so that it is looked up in the functions that failed.
    """
    path = getattr(error, "filename", None)
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][::-1]
    for frame in frames:
        if path is None and str(frame.f_globals.get("__name__")).startswith("mnist12k."):
            path = frame.f_locals.get("path")
    for value in (value for frame in frames for value in frame.f_locals.values()):
        if path is None and isinstance(value, IOBase):  # a library's
            path = getattr(value, "name", None)
    if path in STREAMS or not isinstance(path, str | os.PathLike):
        return f"{path}: {reason}" if path in STREAMS else reason
    path = Path(path)
    if path.name.startswith(".tmp-"):  # its folder is what matters
        path = path.parent
    with suppress(OSError, ValueError):
        path = path.relative_to(Path.cwd())
    return f"{path}: {reason}"
