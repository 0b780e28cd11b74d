"""The MLflow UI, opened at the list of this project's runs."""

import contextlib
import json
import os
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

from mnist12k.errors import UserError, without_passwords
from mnist12k.tracking.store import artifact_root, connect

HOST = "127.0.0.1"
# By default MLflow lists runs without any metric or parameter, and orders the charts by name.
# A shared view, stored as a tag of the experiment, chooses both.
VIEW = "mnist12k"
COLUMNS = [
    *(f"metrics.`{name}`" for name in ("test/accuracy", "test/loss", "validation/accuracy")),
    *(f"params.`train.{name}`" for name in ("recipe", "seed", "epochs", "learning_rate")),
    *(f"params.`train.{name}`" for name in ("schedule", "dropout")),
]
SECTION = "Training runs"
LINES = {  # metric: scale
    "validation/accuracy": "linear",
    "validation/loss": "log",
    "train/loss": "log",
    "train/learning_rate": "linear",
}
STEPS = {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""}


def serve(port: int | None = None) -> None:
    """Serve the store on 127.0.0.1 until Ctrl-C; print the address of the list of runs.

    Without a `port`, it is MLflow's default, 5000, or another that is free.

    MLflow's own front page shows traces of language models, and no runs. If MLFLOW_TRACKING_URI
    names a server, only print the address on it. Raises UserError if the server cannot start.
    """
    client, experiment_id = connect()
    path = _path_of_runs(client, experiment_id)
    remote = os.environ.get("MLFLOW_TRACKING_URI", "")
    if remote.startswith("http"):
        print(without_passwords(remote.rstrip("/") + path))
        return
    port = _free_port(port)
    command = [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", mlflow.get_tracking_uri()),
        *("--default-artifact-root", artifact_root()),
        *("--host", HOST, "--port", str(port), "--workers", "1"),
    ]
    # The server logs every request; stdout has only the address.
    with subprocess.Popen(command, stdout=sys.stderr) as server:  # noqa: S603
        try:
            if _wait_until_listening(server, port):
                address = f"http://{HOST}:{port}{path}"
                print(f"Runs: {address}  (Ctrl-C stops)", flush=True)
                if _has_screen():
                    webbrowser.open(address)
            code = server.wait()
        except KeyboardInterrupt:  # also on SIGTERM and SIGHUP
            with contextlib.suppress(psutil.Error):  # the signal may have stopped them as well
                for process in psutil.Process(server.pid).children(recursive=True):
                    process.terminate()
            server.terminate()
            server.wait()
            return
    raise UserError(f"the MLflow server ended with exit code {code}")


def _free_port(wanted: int | None) -> int:
    """Return the wanted port, or MLflow's default, or another free one."""
    for port in (5000, 0) if wanted is None else (wanted,):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise UserError(
        f"no port is free on {HOST}" if wanted is None else f"--port {wanted} is in use"
    )


def _wait_until_listening(server: subprocess.Popen[bytes], port: int) -> bool:
    """Return True once the server listens, or False if it ends first."""
    while server.poll() is None:
        if _is_listening(server.pid, port):
            return True
        time.sleep(0.1)
    return False


def _is_listening(pid: int, port: int) -> bool:
    """Return whether this process or a child of it listens at the port.

    A request would not do: another server may have taken the port meanwhile, and answer.
    """
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for process in (parent, *parent.children(recursive=True))
            for connection in process.net_connections("inet")
        )
    return False


def _has_screen() -> bool:
    """Return whether a person started this, in a terminal on a machine with a screen.

    Without a screen, webbrowser would start a text browser in the same terminal.
    """
    screen = sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)
    return sys.stdout.isatty() and bool(screen)


def _charts() -> list[dict[str, Any]]:
    """Return the charts of the section `SECTION`, in the format of a shared view."""

    def axis(name: str) -> dict[str, Any]:
        return {"key": name, "type": "METRIC", "index": 0}

    charts: list[dict[str, Any]] = [
        # Not bars, which begin at 0: those of accuracies near 1 all look the same.
        {"type": "SCATTER", "xaxis": axis("validation/accuracy"), "yaxis": axis("test/accuracy")},
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


def _path_of_runs(client: MlflowClient, experiment_id: str) -> str:
    """Return the URL path of the list of runs, with the shared view if the store accepts it."""
    path = f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    section = {"uuid": SECTION, "name": SECTION, "display": True, "isReordered": False}
    view = {
        "selectedColumns": COLUMNS,
        "compareRunCharts": _charts(),
        "globalLineChartConfig": STEPS,
        "isAccordionReordered": True,  # otherwise sections are sorted by name
        "compareRunSections": [section | {"deleted": False, "isGenerated": False}],
    }
    tag, value = f"mlflow.sharedViewState.{VIEW}", json.dumps(view)
    try:
        if client.get_experiment(experiment_id).tags.get(tag) != value:
            client.set_experiment_tag(experiment_id, tag, value)
    except MlflowException:
        return path
    return f"{path}&viewStateShareKey={VIEW}"
