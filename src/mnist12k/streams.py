"""Standard output and standard error whose errors name them, even if the shell has closed them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper

STREAMS = ("standard output", "standard error")


def open_streams() -> None:
    """Open what the shell has closed (`>&-`), so that no file takes the place of a stream."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


@contextmanager
def named_streams() -> Iterator[list["Stream"]]:
    """Within the block, errors of standard output and standard error name them as their file."""
    before = sys.stdout, sys.stderr
    streams = [
        Stream(stream, name)
        for stream, name in zip(before, STREAMS, strict=True)
        if type(stream) is TextIOWrapper  # else a test's, or a notebook's
    ]
    if len(streams) == len(before):
        sys.stdout, sys.stderr = streams
    try:
        yield streams
    finally:
        sys.stdout, sys.stderr = before
        for stream in streams:
            with suppress(OSError):
                stream.detach()  # its end would close the file


class Stream(TextIOWrapper):
    """A standard stream whose errors have its name."""

    def __init__(self, stream: TextIOWrapper, label: str) -> None:
        super().__init__(
            stream.buffer,
            stream.encoding,
            stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        self.label = label
        self.is_closed_pipe = False

    def write(self, text: str, /) -> int:
        """Write text; an OSError names the stream."""
        with self._named():
            return super().write(text)

    def flush(self) -> None:
        """Write what is buffered; an OSError names the stream."""
        with self._named():
            super().flush()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = self.label
            self.is_closed_pipe |= isinstance(error, BrokenPipeError)
            raise
