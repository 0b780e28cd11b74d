"""A team's server on this machine alone: PostgreSQL, and an MLflow server with basic auth."""

import base64
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ADMIN, PASSWORD = "admin", "of-the-administrator"
USERS = ("ann", "bob")


def find_postgresql() -> Path | None:
    """Return the folder with PostgreSQL's programs, or None where it is absent."""
    debian = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    folders = sorted(debian, key=lambda folder: float(folder.parent.name), reverse=True)
    if shutil.which("pg_config"):
        # Without PostgreSQL's development packages Debian's fails, and names them.
        told = subprocess.run(
            ["pg_config", "--bindir"], capture_output=True, text=True, check=False
        )
        if told.returncode == 0:
            folders.insert(0, Path(told.stdout.strip()))
    return next((folder for folder in folders if (folder / "initdb").is_file()), None)


@contextmanager
def postgresql(programs: Path) -> Iterator[str]:
    """Run a PostgreSQL of one's own on loopback; yield the address of an empty database."""
    # It does not run as root, and its own user cannot enter pytest's temporary folders.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    user: dict[str, Any] = (
        {"user": "postgres", "group": "postgres", "extra_groups": ()} if root else {}
    )
    password, port = secrets.token_hex(8), str(free_port())
    with tempfile.TemporaryDirectory(prefix="mnist12k-postgresql-") as name:
        folder = Path(name)
        data = folder / "data"
        (folder / "password").write_text(password)
        if root:
            shutil.chown(folder, "postgres", "postgres")

        def run(program: str, *arguments: str) -> None:
            subprocess.run(
                [str(programs / program), *arguments],
                cwd=folder,
                env=os.environ | {"PGPASSWORD": password},
                stdout=subprocess.DEVNULL,
                check=True,
                **user,
            )

        how = ("--username", "mlflow", "--auth", "scram-sha-256", "--pwfile", "password")
        run("initdb", "-D", str(data), "--encoding", "UTF8", "--no-sync", *how)
        with (
            (folder / "log").open("w") as log,
            subprocess.Popen(
                [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", port, "-k", folder],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                **user,
            ) as process,
        ):
            there = ("--host", "127.0.0.1", "--port", port)
            ready = [str(programs / "pg_isready"), "--quiet", *there]
            try:
                wait_until(lambda: subprocess.run(ready, check=False).returncode == 0)
                run("createdb", *there, "--username", "mlflow", "mlflow")
                yield f"postgresql://mlflow:{password}@127.0.0.1:{port}/mlflow"
            finally:
                process.send_signal(signal.SIGQUIT)  # at once: nobody wants the data again


class TeamServer:
    """`mlflow server` as docs/team-server.md starts it; its artifacts lie in `folder`/artifacts."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.passwords = {name: secrets.token_hex(8) for name in USERS}
        self._database = database
        (folder / "auth.ini").write_text(
            "[mlflow]\n"
            f"database_uri = {database}\n"
            f"admin_username = {ADMIN}\n"
            "default_permission = MANAGE\n"
            "auth_cache_ttl_seconds = 60\n"
        )

    def variables(self, user: str) -> dict[str, str]:
        """Return what a user sets to log here."""
        return {
            "MLFLOW_TRACKING_URI": self.address,
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": self.passwords[user],
        }

    def start(self) -> None:
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"),
            *("--artifacts-destination", str(self.folder / "artifacts")),
            *("--host", "127.0.0.1", "--port", str(self.port), "--workers", "2"),
        ]
        ours = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_TRACKING_")}
        variables = {
            "MLFLOW_BACKEND_STORE_URI": self._database,  # no password in a list of processes
            "MLFLOW_AUTH_CONFIG_PATH": str(self.folder / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=ours | variables,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its workers die with it, by the group
            )
        wait_until(self._answers)

    def create_users(self) -> None:
        administrator = base64.b64encode(f"{ADMIN}:{PASSWORD}".encode()).decode()
        for name, password in self.passwords.items():
            request = urllib.request.Request(  # noqa: S310 - http
                f"{self.address}/api/2.0/mlflow/users/create",
                json.dumps({"username": name, "password": password}).encode(),
                {"Content-Type": "application/json", "Authorization": f"Basic {administrator}"},
            )
            urllib.request.urlopen(request, timeout=30).close()  # noqa: S310

    def signal(self, number: int) -> None:
        """Send a signal to the server and all its workers."""
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5):  # noqa: S310
                return True
        except (urllib.error.URLError, OSError):
            return False


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def wait_until(holds: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
