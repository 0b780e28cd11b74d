"""The MLflow UI, opened where this project's runs are."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import mlflow
import psutil
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mnist12k.errors import UserError
from mnist12k.stores import store_root
from mnist12k.tracking.store import connect

HOST = "127.0.0.1"
# MLflow's list shows no figure until it is told of columns: by a view that somebody shared.
VIEW = "mnist12k"
COLUMNS = [
    *(f"metrics.`{name}`" for name in ("test/accuracy", "validation/accuracy")),
    *(f"params.`train.{name}`" for name in ("recipe", "epochs", "seed")),
]


def serve() -> None:
    """Serve the store on 127.0.0.1 until Ctrl-C, and print the address of the training runs.

    MLflow's own front page is its view of language-model traces, where a training looks absent.
    """
    client, experiment_id = connect()
    place = _place(client, experiment_id)
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    if server.startswith("http"):
        print(server.rstrip("/") + place)
        return
    port = _free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", mlflow.get_tracking_uri()),
        *("--default-artifact-root", (store_root() / "mlartifacts").as_uri()),
        *("--host", HOST, "--port", str(port), "--workers", "1"),
    ]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # however it ends, no orphan stays
    # Ours alone goes to stdout: the server tells of itself and of every request.
    with subprocess.Popen(command, stdout=sys.stderr) as running:  # noqa: S603
        try:
            if _comes_up(running, port):
                print(f"Runs: http://{HOST}:{port}{place}  (Ctrl-C stops)", flush=True)
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


def _comes_up(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until a server listens; return False if it ends before."""
    while server.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, port), timeout=1).close()
            return True
        time.sleep(0.1)
    return False


def _place(client: MlflowClient, experiment_id: str) -> str:
    """Return where a server lists the runs, with our columns if it lets us say which these are."""
    place = f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    tag, value = f"mlflow.sharedViewState.{VIEW}", json.dumps({"selectedColumns": COLUMNS})
    try:
        if client.get_experiment(experiment_id).tags.get(tag) != value:
            client.set_experiment_tag(experiment_id, tag, value)
    except MlflowException:
        return place
    return f"{place}&viewStateShareKey={VIEW}"
