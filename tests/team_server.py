"""A team's server on loopback: PostgreSQL, and an MLflow server with basic auth."""

import base64
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servers import free_port, get

ADMIN, PASSWORD = "admin", "administrators-password"
USERS = ("ann", "bob")


def find_postgresql() -> Path | None:
    """Return the folder with PostgreSQL's programs, or None if it is not installed."""
    debian = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    folders = sorted(debian, key=lambda folder: float(folder.parent.name), reverse=True)
    if shutil.which("pg_config"):
        # Debian's fails unless PostgreSQL's development packages are installed.
        command = ["pg_config", "--bindir"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            folders.insert(0, Path(done.stdout.strip()))
    return next((folder for folder in folders if (folder / "initdb").is_file()), None)


class PostgreSQL:
    """A server on a free port, with an empty database."""

    def __init__(self, programs: Path, folder: Path) -> None:
        # It refuses to run as root, and its user has no access to pytest's temporary folders.
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        self._user: dict[str, Any] = (
            {"user": "postgres", "group": "postgres", "extra_groups": ()} if root else {}
        )
        self._programs, self.folder = programs, folder
        self._password, self.port = secrets.token_hex(8), str(free_port())
        self.address = f"postgresql://mlflow:{self._password}@127.0.0.1:{self.port}/mlflow"
        (folder / "password").write_text(self._password)
        if root:
            shutil.chown(folder, "postgres", "postgres")
        options = ("--username", "mlflow", "--auth", "scram-sha-256", "--pwfile", "password")
        self._run("initdb", "-D", str(folder / "data"), "--encoding", "UTF8", "--no-sync", *options)
        self.start()
        self._run("createdb", *self._host(), "--username", "mlflow", "mlflow")

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        data, address = str(self.folder / "data"), ("-h", "127.0.0.1", "-p", self.port)
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", data, *address, "-k", self.folder],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                **self._user,
            )
        ready = [str(self._programs / "pg_isready"), "--quiet", *self._host()]
        wait_until(lambda: subprocess.run(ready, check=False).returncode == 0)

    def stop(self) -> None:
        """Shut down at once, as in a crash."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def _host(self) -> tuple[str, ...]:
        return ("--host", "127.0.0.1", "--port", self.port)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), *arguments],
            cwd=self.folder,
            env=os.environ | {"PGPASSWORD": self._password},
            stdout=subprocess.DEVNULL,
            check=True,
            **self._user,
        )


@contextmanager
def postgresql_server(programs: Path) -> Iterator[PostgreSQL]:
    """Run PostgreSQL on a free port."""
    with tempfile.TemporaryDirectory(prefix="mnist12k-postgresql-") as name:
        server = PostgreSQL(programs, Path(name))
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def postgresql(programs: Path) -> Iterator[str]:
    """Run PostgreSQL on a free port; yield the address of an empty database."""
    with postgresql_server(programs) as server:
        yield server.address


class TeamServer:
    """`mlflow server` as docs/team-server.md starts it; its artifacts are in `folder`/artifacts."""

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
            "default_permission = EDIT\n"
            "auth_cache_ttl_seconds = 60\n"
        )

    def variables(self, user: str) -> dict[str, str]:
        """Return the environment variables with which a user logs to this server."""
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
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_TRACKING_")}
        variables = {
            "MLFLOW_BACKEND_STORE_URI": self._database,  # a command line would show the password
            "MLFLOW_AUTH_CONFIG_PATH": str(self.folder / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=inherited | variables,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group, to signal its workers as well
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
        return get(f"{self.address}/health") is not None


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
