"""No password or token that a user puts anywhere is printed or written to a file."""

import importlib
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import tune_command
from PIL import Image
from project import ROOT, SMALL, SMALL_SEEDS
from workspace import inside

from mnist12k.cli import main, mnist12k

pytestmark = pytest.mark.slow

STEM = "hunter7"  # of every secret: also what is left of one that is cut or decoded
ARGUMENTS = {
    "promote": ["--version", "1"],
    "predict": ["--model", "models:/mnist12k-cnn@champion", "digit.png"],
}
ELSEWHERE = {
    "MLFLOW_TRACKING_PASSWORD": STEM,
    "MLFLOW_TRACKING_TOKEN": STEM,
    "MLFLOW_REGISTRY_URI": f"http://ann:{STEM}@127.0.0.1:1",
    "RAY_ADDRESS": f"ann:{STEM}@127.0.0.1:1",
    "HTTP_PROXY": f"http://ann:{STEM}@127.0.0.1:1",
    "HTTPS_PROXY": f"http://ann:{STEM}@127.0.0.1:1",
    "AWS_SECRET_ACCESS_KEY": STEM,
}
STORES = {
    "local": "",
    "refuses": "",
    "http": f"http://ann:{STEM}%40x@127.0.0.1:1",
    "token": f"http://{STEM}@127.0.0.1:1",
    "postgresql": f"postgresql://ann:{STEM}@127.0.0.1:1/db",
    "raw at": f"postgresql://ann:x@{STEM}@127.0.0.1:1/db",
    "query": f"postgresql://127.0.0.1:1/db?user=ann&password={STEM}",
    "wrong scheme": f"postgres+psycogp://ann:{STEM}@127.0.0.1:1/db",
}
STORAGES = {
    "postgresql": f"postgresql://ann:{STEM}@127.0.0.1:1/db",
    "raw at": f"postgresql://ann:x@{STEM}@127.0.0.1:1/db",
    "percent": f"postgresql://ann:x%40{STEM}@127.0.0.1:1/db",
    "query": f"postgresql://127.0.0.1:1/db?password={STEM}",
    "wrong scheme": f"mysql://ann:{STEM}@127.0.0.1:1/db",
    "long": f"mysql://ann:{STEM}{'x' * 100}@127.0.0.1:1/db",
}


@pytest.fixture
def folder(trained_template: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    shutil.copytree(trained_template, folder, symlinks=True)
    Image.new("L", (60, 60)).save(folder / "digit.png")
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    changes = {
        "source: auto": f"source: http://ann:{STEM}@127.0.0.1:1/mnist",
        SMALL_SEEDS[0]: SMALL_SEEDS[1],
        **SMALL,
    }
    for old, new in changes.items():
        text = text.replace(old, new, 1)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    return folder


class Refusal(BaseHTTPRequestHandler):
    """Answers that no user may do anything."""

    def do_GET(self) -> None:
        self.send_error(403)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refuses() -> Iterator[str]:
    """The address, with a password, of a server that refuses everything."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://ann:{STEM}@127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def leaks(folder: Path) -> list[str]:
    """Return the files with a secret, apart from the one that the user has put it into."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name != "params.yaml" and STEM.encode() in path.read_bytes()
    ]


def run(
    folder: Path,
    commands: list[str],
    variables: Mapping[str, str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Run each command, and return what they print."""
    with inside(folder), monkeypatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        for command in commands:
            assert main([command, *ARGUMENTS.get(command, [])]) in (0, 2)
    printed = capfd.readouterr()
    return printed.out + printed.err


@pytest.mark.long
@pytest.mark.parametrize("store", STORES)
def test_no_command_shows_or_writes_a_password_of_the_tracking_store(
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    refuses: str,
    store: str,
) -> None:
    tune_command.set_tune(folder, storage=STORAGES["percent"])
    address = refuses if store == "refuses" else STORES[store]
    variables = ELSEWHERE | ({"MLFLOW_TRACKING_URI": address} if address else {})
    commands = ["fetch", "publish", "promote", "predict", "doctor"]
    if address:
        commands.append("ui")
    if not address or address == refuses:
        commands += ["repair", "backprop", "train", "evaluate", "report", "seeds", "export"]
    output = run(folder, commands, variables, capfd, monkeypatch)
    assert STEM not in output
    assert leaks(folder) == []


@pytest.mark.parametrize("storage", STORAGES)
def test_no_command_shows_or_writes_a_password_of_a_search_storage(
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    storage: str,
) -> None:
    tune_command.set_tune(folder, storage=STORAGES[storage])
    commands = ["tune", "tune-worker"]
    output = run(folder, commands, ELSEWHERE, capfd, monkeypatch)
    assert STEM not in output
    assert "tune.storage = " in output
    assert leaks(folder) == []


def test_an_address_of_a_ray_cluster_is_shown_without_its_password(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    tune_command.set_tune(folder, engine="ray")
    output = run(folder, ["tune"], ELSEWHERE, capfd, monkeypatch)
    assert STEM not in output
    assert "RAY_ADDRESS = " in output
    assert leaks(folder) == []


def test_every_command_that_reads_an_address_is_run_above() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    run_above = {name for name in mnist12k.commands if re.search(rf'"{name}"', text)}
    assert set(mnist12k.commands) <= run_above


def test_the_command_of_a_benchmark_has_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    common = importlib.import_module("common")
    monkeypatch.setattr("sys.argv", ["queue.py", f"postgresql://ann:{STEM}@127.0.0.1/studies"])
    written = common.command("queue.py")
    assert written == "python benchmarks/queue.py postgresql://ann:***@127.0.0.1/studies"
