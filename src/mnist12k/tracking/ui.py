"""The MLflow UI, opened where this project's runs are."""

import contextlib
import os
import signal
import socket
import subprocess
import sys

import mlflow
import psutil

from mnist12k.errors import UserError
from mnist12k.stores import store_root
from mnist12k.tracking.store import connect

HOST = "127.0.0.1"


def serve() -> None:
    """Serve the store on 127.0.0.1 until Ctrl-C, and print the address of the training runs.

    MLflow's own front page is its view of language-model traces, where a training looks absent.
    """
    _, experiment_id = connect()
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    if server.startswith("http"):
        print(_address(server.rstrip("/"), experiment_id))
        return
    port = _free_port()
    print(f"Runs: {_address(f'http://{HOST}:{port}', experiment_id)}  (Ctrl-C stops)", flush=True)
    command = [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", mlflow.get_tracking_uri()),
        *("--default-artifact-root", (store_root() / "mlartifacts").as_uri()),
        *("--host", HOST, "--port", str(port), "--workers", "1"),
    ]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # however it ends, no orphan stays
    with subprocess.Popen(command) as running:  # noqa: S603
        try:
            code = running.wait()
        except KeyboardInterrupt:
            for process in psutil.Process(running.pid).children(recursive=True):
                process.terminate()
            running.terminate()
            return
    raise UserError(f"the MLflow server ended with exit code {code}")


def _free_port() -> int:
    """Return MLflow's own port, or where that is taken another that is free."""
    for port in (5000, 0):
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind((HOST, port))
            return int(trial.getsockname()[1])
    raise UserError(f"no port is free on {HOST}")


def _address(server: str, experiment_id: str) -> str:
    return f"{server}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
