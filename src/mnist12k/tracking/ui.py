"""The MLflow UI, opened where this project's runs are."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from typing import Any

import mlflow
import psutil
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mnist12k.errors import UserError
from mnist12k.stores import store_root
from mnist12k.tracking.store import connect

HOST = "127.0.0.1"
# MLflow's list shows no figure until it is told of columns, and its charts begin with whatever
# metric comes first in the alphabet: both follow a view that somebody shared.
VIEW = "mnist12k"
COLUMNS = [
    *(f"metrics.`{name}`" for name in ("test/accuracy", "validation/accuracy")),
    *(f"params.`train.{name}`" for name in ("recipe", "epochs", "seed")),
]
SECTION = "Trainings"
LINES = {
    "validation/accuracy": "linear",
    "validation/loss": "log",
    "train/loss": "log",
    "learning_rate": "linear",
}
STEPS = {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""}


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
                address = f"http://{HOST}:{port}{place}"
                print(f"Runs: {address}  (Ctrl-C stops)", flush=True)
                if _somebody_looks():
                    webbrowser.open(address)
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
        if _listens(server.pid, port):
            return True
        time.sleep(0.1)
    return False


def _listens(pid: int, port: int) -> bool:
    """Tell whether it is this process, or one that it started, that listens at the port.

    Somebody else's server may have taken the port in the meantime, and would answer as well.
    """
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for process in (parent, *parent.children(recursive=True))
            for connection in process.net_connections("inet")
        )
    return False


def _somebody_looks() -> bool:
    """Tell whether a person at a screen has asked, rather than a program or from another machine.

    Without a screen Python would take a browser for terminals, in the way of the server's words.
    """
    screen = sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)
    return sys.stdout.isatty() and bool(screen)


def _charts() -> list[dict[str, Any]]:
    """Return the charts of the section `SECTION`, as MLflow's UI keeps them in a view."""
    charts: list[dict[str, Any]] = [
        {"type": "BAR", "metricKey": "test/loss"},  # bars of accuracies near 1 are all alike
        *(
            {"type": "LINE", "metricKey": name, "displayName": name, "scaleType": scale} | STEPS
            for name, scale in LINES.items()
        ),
        {
            "type": "PARALLEL",
            "selectedParams": ["train.learning_rate", "train.epochs"],
            "selectedMetrics": ["validation/accuracy"],
        },
    ]
    common = {"metricSectionId": SECTION, "runsCountToCompare": 10, "deleted": False}
    return [
        {"uuid": f"{VIEW}-{number}", "isGenerated": False} | common | chart
        for number, chart in enumerate(charts)
    ]


def _place(client: MlflowClient, experiment_id: str) -> str:
    """Return where a server lists the runs, with our columns and charts if it takes them."""
    place = f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    section = {"uuid": SECTION, "name": SECTION, "display": True, "isReordered": False}
    view = {
        "selectedColumns": COLUMNS,
        "compareRunCharts": _charts(),
        "globalLineChartConfig": STEPS,
        "isAccordionReordered": True,  # else the sections come in the order of the alphabet
        "compareRunSections": [section | {"deleted": False, "isGenerated": False}],
    }
    tag, value = f"mlflow.sharedViewState.{VIEW}", json.dumps(view)
    try:
        if client.get_experiment(experiment_id).tags.get(tag) != value:
            client.set_experiment_tag(experiment_id, tag, value)
    except MlflowException:
        return place
    return f"{place}&viewStateShareKey={VIEW}"
