"""A real Ray cluster of two nodes on this machine's loopback."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import ROOT
from tune_command import new_folder, read_until, rows, run, start

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Ray's clusters are not for Windows"),
]
RAY = str(Path(sys.executable).parent / "ray")
HEAD, OTHER = "127.0.0.2", "127.0.0.3"  # Ray takes 127.0.0.1 for the machine's own address


def wait_for(port: int) -> None:
    """Wait until the head answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as trial:
            if trial.connect_ex((HEAD, port)) == 0:
                return
        time.sleep(0.2)
    raise TimeoutError(port)


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def start_node(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a node of one core, which lives until its process group is killed."""
    return subprocess.Popen(
        [
            *(RAY, "start", "--block", "--num-cpus=1", "--num-gpus=0", "--disable-usage-stats"),
            *("--object-store-memory=100000000", *arguments),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "RAY_USAGE_STATS_ENABLED": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(node: subprocess.Popen[bytes]) -> None:
    """Kill a node with everything that it has started."""
    children = psutil.Process(node.pid).children(recursive=True) if node.poll() is None else []
    for process in children:
        process.kill()
    node.kill()
    node.wait()


@pytest.fixture
def cluster() -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """An address, and its two nodes, of which the first is the head."""
    port = free_port()
    address = f"{HEAD}:{port}"
    own = [f"--node-ip-address={HEAD}", "--include-dashboard=false"]
    nodes = [start_node("--head", f"--port={port}", *own)]
    wait_for(port)
    nodes.append(start_node(f"--address={address}", f"--node-ip-address={OTHER}"))
    try:
        yield address, nodes
    finally:
        for node in reversed(nodes):
            kill(node)


def test_two_nodes_share_a_search_and_a_killed_one_loses_no_trial(
    cluster: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path, idx_folder: Path
) -> None:
    address, nodes = cluster
    folder = new_folder(tmp_path / "ray", idx_folder, engine="ray", workers="2", trials="8")
    with start(folder, "tune", variables={"RAY_ADDRESS": address}) as process:
        told = read_until(process, "trial ")
        assert nodes[1].poll() is None
        kill(nodes[1])
        told += process.communicate(timeout=400)[0]
    assert process.returncode == 0, told
    assert len(rows(folder, "trials.csv")) == 8
    assert (folder / "reports/tune/best_params.yaml").is_file()


def test_a_killed_head_costs_the_running_trials_and_the_next_run_does_what_is_left(
    cluster: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path, idx_folder: Path
) -> None:
    address, nodes = cluster
    folder = new_folder(tmp_path / "ray", idx_folder, engine="ray", workers="2")
    with start(folder, "tune", variables={"RAY_ADDRESS": address}) as process:
        read_until(process, "trial ")
        for node in nodes:
            kill(node)
        os.killpg(process.pid, signal.SIGKILL)  # the driver would wait for its head for a minute
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("engine: ray", "engine: local"))
    told = run(folder, "tune")
    assert not told.startswith("mnist12k-") or " 0 trials are there" not in told.splitlines()[0]
    assert len(rows(folder, "trials.csv")) == 6


def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path, idx_folder: Path) -> None:
    folder = new_folder(tmp_path / "ray", idx_folder, engine="ray")
    address = f"127.0.0.1:{free_port()}"
    with start(folder, "tune", variables={"RAY_ADDRESS": address}) as process:
        told, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    (line,) = [line for line in told.splitlines() if "error" in line]
    assert line.startswith(f"mnist12k: error: RAY_ADDRESS = '{address}': no cluster answers")
    assert shutil.which(RAY)
