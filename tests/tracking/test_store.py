import contextlib
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from project import ROOT
from workspace import inside, make_workspace

from mnist12k import cli
from mnist12k.errors import UserError
from mnist12k.tracking.store import connect, errors_as_user_errors

pytestmark = pytest.mark.slow


def test_processes_that_start_together_create_one_store(tmp_path: Path) -> None:
    program = "from mnist12k.tracking.store import connect; print(connect()[1])"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = {process.communicate(timeout=120)[0].strip() for process in processes}
    with inside(tmp_path):
        assert outputs == {connect()[1]}
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_store_that_cannot_be_created_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with inside(tmp_path), monkeypatch.context() as patch:
        patch.setattr("alembic.command.upgrade", fail_without_space)
        with pytest.raises(OSError, match="No space left"):
            connect()
        assert list(tmp_path.iterdir()) == []


def fail_without_space(*_: object) -> None:
    raise OSError("No space left on device")


def test_a_damaged_store_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "mlflow.db").write_bytes(b"no database " * 100)
    with inside(tmp_path):
        assert cli.main(["promote", "--version", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "mnist12k: error: tracking failed" in line
    assert "file is not a database" in line


def test_a_project_may_have_any_path(tmp_path: Path, idx_folder: Path) -> None:
    folder = tmp_path / "what? 50%20off, 'a#b' & %3F=Größe"
    make_workspace(folder, idx_folder)
    program = """
from pathlib import Path
from mnist12k.tracking.store import connect
client, experiment_id = connect()
run = client.create_run(experiment_id)
client.log_artifact(run.info.run_id, "params.yaml")
client.create_registered_model("m")
client.download_artifacts(run.info.run_id, "params.yaml")
"""
    command = [sys.executable, "-c", program]
    environment = {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [*folder.glob("mlartifacts/**/params.yaml")]
    assert (folder / "mlflow.db").is_file()
    assert [*tmp_path.iterdir()] == [folder]


def test_a_relative_sqlite_address_means_the_projects_root_wherever_a_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / ".dvc/tmp/exps/copy"
    temporary.mkdir(parents=True)
    for folder in (tmp_path, temporary):
        with inside(folder):
            monkeypatch.setenv("DVC_ROOT", str(tmp_path))
            monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
            client, experiment_id = connect()
            artifacts = client.get_experiment(experiment_id).artifact_location
            assert artifacts == (tmp_path / "mlartifacts").as_uri()
    assert (tmp_path / "other.db").is_file()
    assert not [*temporary.iterdir()]


class Drip(BaseHTTPRequestHandler):
    """Answer one byte per second."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(60):
                self.wfile.write(b"x")
                time.sleep(1)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def dripping() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Drip) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:{}", "postgresql://u:SECRET@127.0.0.1:{}/db"]
)
@pytest.mark.parametrize("kind", ["gone", "silent", "dripping"])
def test_a_server_that_is_slow_gone_or_another_costs_seconds_and_one_line(
    address: str,
    kind: str,
    silent: int,
    dripping: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = {"gone": 9, "silent": silent, "dripping": dripping}[kind]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.format(port))
    started = time.monotonic()
    with pytest.raises(UserError) as raised, errors_as_user_errors():
        connect()
    assert time.monotonic() - started < 20
    assert len(str(raised.value).splitlines()) == 1
    assert "SECRET" not in str(raised.value)


@pytest.mark.usefixtures("workspace")
def test_a_kind_of_store_without_support_is_one_line_that_says_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def line(uri: str) -> str:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert cli.main(["publish"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "SECRET" not in line
        return line

    for uri in ("file:///tmp/runs", "mlruns", "databricks", "uc:x", "s3://u:SECRET@bucket/runs"):
        assert line(uri).startswith("mnist12k: error: MLFLOW_TRACKING_URI = ")
        assert "is not supported; allowed: http(s)://..., sqlite:///... and postgres" in line(uri)
    driverless = line("mysql://u:SECRET@127.0.0.1/runs")
    assert driverless == "mnist12k: error: MLFLOW_TRACKING_URI: mysql needs the package MySQLdb"


@pytest.mark.parametrize(
    "address",
    [
        "http://no-such-host.invalid:5000",
        "postgresql://u:SECRET@no-such-host.invalid/db",
        "mysql://u:SECRET@127.0.0.1:9/db",
        "ftp://u:SECRET@127.0.0.1:9/db",
        "http://",
        "postgresql://u:SECRET@127.0.0.1:notaport/db",
        "nonsense",
    ],
)
def test_an_address_that_cannot_work_costs_seconds_and_one_line(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    started = time.monotonic()
    with pytest.raises(UserError) as raised, errors_as_user_errors():
        connect()
    assert time.monotonic() - started < 20
    assert len(str(raised.value).splitlines()) == 1
    assert "SECRET" not in str(raised.value)
