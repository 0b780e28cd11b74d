"""`mnist12k tune` on small data, in a folder and processes of its own."""

import csv
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
from conftest import ROOT
from workspace import make_workspace

SMALL = {
    "trials: 40": "trials: 6",
    "finalists: 3": "finalists: 2",
    "finalist_seeds: 5": "finalist_seeds: 2",
    "workers: null": "workers: 1",
    "pruner: hyperband": "pruner: none",
}


def new_folder(folder: Path, idx_folder: Path, **changes: str) -> Path:
    """Make a project on small data whose section tune is small, with `key=value` changed there."""
    folder.mkdir()
    make_workspace(folder, idx_folder)
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    for old, new in SMALL.items():
        assert old in text
        text = text.replace(old, new, 1)
    before, tune, after = text.partition("\ntune:\n")
    lines = after.splitlines()
    for key, value in changes.items():
        (number,) = [i for i, line in enumerate(lines) if line.startswith(f"  {key}:")]
        lines[number] = f"  {key}: {value}"
    (folder / "params.yaml").write_text(before + tune + "\n".join(lines) + "\n", encoding="utf-8")
    # A search never opens the test images: it must do without them.
    for path in (folder / "data/mnist/MNIST/raw").glob("t10k-*"):
        path.unlink()
    return folder


def start(
    folder: Path, *arguments: str, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a command in a session of its own."""
    hidden = ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME")
    given = {name: value for name, value in os.environ.items() if name not in hidden}
    given |= {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "mnist12k", *arguments],
        cwd=folder,
        env={**given, **(variables or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(folder: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> str:
    """Run a command to its good end, and return what it told."""
    with start(folder, *arguments, variables=variables) as process:
        told, _ = process.communicate(timeout=500)
    assert process.returncode == 0, told
    return told


def read_until(process: subprocess.Popen[str], start: str) -> str:
    """Read a process's lines up to the first that starts so, and return them."""
    assert process.stdout is not None
    told = ""
    for line in process.stdout:
        told += line
        if line.startswith(start):
            return told
    raise AssertionError(told)


def alive(session: int) -> list[int]:
    """Return the processes of a session that still run, once they have had time to end."""
    processes = [process for process in psutil.process_iter() if _session(process.pid) == session]
    _, left = psutil.wait_procs(processes, timeout=10)
    return [process.pid for process in left if process.status() != psutil.STATUS_ZOMBIE]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    """Return a table in reports/tune."""
    with (folder / "reports/tune" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
