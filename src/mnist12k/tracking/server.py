"""Whether a store is of a kind that works here, and whether its server answers within seconds.

MLflow itself retries for minutes.
"""

import contextlib
import socket
import threading
from urllib.error import HTTPError
from urllib.request import urlopen

from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from mnist12k.errors import UserError, without_passwords

DEADLINE = 10  # seconds, name lookup included
# SQLAlchemy's names of databases: their ports, and whether their drivers know connect_timeout.
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
TIMEOUTS = {"postgresql", "mysql"}


def require_supported(uri: str) -> None:
    """Raise UserError unless a tracking URI is of a kind that works here, with its driver."""
    kind = uri.partition("://")[0].partition("+")[0] if "://" in uri else ""
    if kind in ("http", "https"):
        return
    if kind not in (*PORTS, "sqlite"):
        raise UserError(
            f"MLFLOW_TRACKING_URI = {without_passwords(uri)} is not supported; allowed: "
            "http(s)://..., sqlite:///... and postgresql+psycopg://..., or unset it"
        )
    with contextlib.suppress(SQLAlchemyError, ValueError):  # reported later
        try:
            make_url(uri).get_dialect().import_dbapi()
        except ModuleNotFoundError as error:
            hint = "; `pip install '.[postgresql]'` and write postgresql+psycopg://..."
            raise UserError(
                f"MLFLOW_TRACKING_URI: {uri.partition('://')[0]} needs the package {error.name}"
                + (hint if kind == "postgresql" else "")
            ) from error


def require_answer(uri: str) -> None:
    """Raise OSError or SQLAlchemyError unless the server of a tracking URI answers in time."""
    failures: list[Exception] = []

    def ask() -> None:
        try:
            if uri.startswith(("http://", "https://")):
                _ask_http(uri)
            else:
                _ask_database(uri)
        except Exception as error:  # raised below, in the caller's thread
            failures.append(error)

    # Neither a name lookup nor an answer that comes byte by byte has a time-out of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {DEADLINE} seconds")
    if failures:
        raise failures[0]


def _ask_http(uri: str) -> None:
    try:
        with urlopen(f"{uri.rstrip('/')}/health", timeout=DEADLINE) as answer:  # noqa: S310
            answer.read(1000)
    except HTTPError:  # an answer, too: MLflow reports what is wrong with it
        pass


def _ask_database(uri: str) -> None:
    try:
        url: URL = make_url(uri)
    except SQLAlchemyError:  # no database: MLflow knows other kinds of address
        return
    except ValueError:  # whose text may be a part of a password
        raise OSError("MLFLOW_TRACKING_URI has a port that is not a number") from None
    kind = url.get_backend_name()
    if kind not in PORTS or url.host is None:
        return
    socket.create_connection((url.host, url.port or PORTS[kind]), DEADLINE).close()
    options = {"connect_timeout": DEADLINE} if kind in TIMEOUTS else {}
    engine = create_engine(url, connect_args=options)
    try:
        engine.connect().close()
    finally:
        engine.dispose()
