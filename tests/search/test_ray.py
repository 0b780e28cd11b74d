"""A real Ray cluster of two nodes, on this machine's loopback addresses."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from project import ROOT
from seeds_command import RESULT, require_all, seeds_folder
from servers import free_port
from tune_command import new_folder, read_report, read_until, run, set_tune, start

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(os.name == "nt", reason="Ray's clusters are not for Windows"),
]
RAY = str(Path(sys.executable).parent / "ray")
HEAD, OTHER = "127.0.0.2", "127.0.0.3"  # Ray takes 127.0.0.1 for the machine's own address


class Cluster(NamedTuple):
    """Two nodes; the first one is the head."""

    address: str
    nodes: list["subprocess.Popen[bytes]"]


def wait_for(port: int) -> None:
    """Wait until the head accepts connections."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HEAD, port)) == 0:
                return
        time.sleep(0.2)
    raise TimeoutError(port)


def start_node(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a node with one core."""
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
    """Kill a node and all processes that it has started."""
    children = psutil.Process(node.pid).children(recursive=True) if node.poll() is None else []
    for process in children:
        process.kill()
    node.kill()
    node.wait()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    port = free_port()
    address = f"{HEAD}:{port}"
    options = [f"--node-ip-address={HEAD}", "--include-dashboard=false"]
    nodes = [start_node("--head", f"--port={port}", *options)]
    wait_for(port)
    nodes.append(start_node(f"--address={address}", f"--node-ip-address={OTHER}"))
    try:
        yield Cluster(address, nodes)
    finally:
        for node in reversed(nodes):
            kill(node)


def test_a_search_on_two_nodes_loses_no_trial_when_one_is_killed(
    cluster: Cluster, tmp_path: Path, idx_folder: Path
) -> None:
    folder = new_folder(tmp_path / "ray", idx_folder, engine="ray", workers=2, trials=8)
    with start(folder, "tune", RAY_ADDRESS=cluster.address) as process:
        output = read_until(process, "trial ")
        assert cluster.nodes[1].poll() is None
        kill(cluster.nodes[1])
        output += process.communicate(timeout=400)[0]
    assert process.returncode == 0, output
    assert len(read_report(folder, "trials.csv")) == 8
    assert (folder / "reports/tune/best_params.yaml").is_file()


def test_a_seeds_study_on_two_nodes_loses_no_training_when_one_is_killed(
    cluster: Cluster, tmp_path: Path, idx_folder: Path
) -> None:
    folder = seeds_folder(tmp_path / "ray", idx_folder, engine="ray", workers=2)
    with start(folder, "seeds", RAY_ADDRESS=cluster.address) as process:
        output = read_until(process, RESULT)
        kill(cluster.nodes[1])
        output += process.communicate(timeout=400)[0]
    require_all(process, output, folder)


def test_after_the_head_was_killed_the_next_run_completes_the_search(
    cluster: Cluster, tmp_path: Path, idx_folder: Path
) -> None:
    folder = new_folder(tmp_path / "ray", idx_folder, engine="ray", workers=2)
    with start(folder, "tune", RAY_ADDRESS=cluster.address) as process:
        read_until(process, "trial ")
        for node in cluster.nodes:
            kill(node)
        os.killpg(process.pid, signal.SIGKILL)  # the driver would wait for its head for a minute
    set_tune(folder, engine="local")
    output = run(folder, "tune")
    assert " 0 trials finished" not in output.splitlines()[0]
    assert len(read_report(folder, "trials.csv")) == 6


def test_an_unreachable_cluster_is_an_error_of_one_line(tmp_path: Path, idx_folder: Path) -> None:
    folder = new_folder(tmp_path / "ray", idx_folder, engine="ray")
    address = f"127.0.0.1:{free_port()}"
    with start(folder, "tune", RAY_ADDRESS=address) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    (line,) = [line for line in output.splitlines() if "error" in line]
    assert line.startswith(f"mnist12k: error: RAY_ADDRESS = '{address}': no cluster answers")
