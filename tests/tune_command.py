"""`mnist12k tune` on small data, each time in a new folder and new processes."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import optuna
import pandas as pd
import psutil
from project import ROOT
from workspace import FOREIGN, inside, make_workspace

from mnist12k.params import load_params
from mnist12k.search.settings import SearchSettings
from mnist12k.search.study import open_study

SMALL = {"trials": 6, "finalists": 2, "finalist_budget": 12, "workers": 1, "pruner": "none"}


def new_folder(folder: Path, idx_folder: Path, **tune: object) -> Path:
    """Create a project on small data with a small search; `tune` sets further keys of its section.

    It has no test images: a search never reads them.
    """
    make_workspace(folder, idx_folder)
    set_tune(folder, **(SMALL | tune))
    for path in (folder / "data/mnist/MNIST/raw").glob("t10k-*"):
        path.unlink()
    return folder


def set_tune(folder: Path, **tune: object) -> None:
    """Set keys of the section tune in params.yaml."""
    path = folder / "params.yaml"
    before, heading, section = path.read_text(encoding="utf-8").partition("\ntune:\n")
    for key, value in tune.items():
        pattern = rf"(?m)(?<=^  {key}: )[^\s#]+"
        section, count = re.subn(pattern, lambda _, value=value: str(value), section)  # type: ignore[misc]
        assert count == 1, key
    path.write_text(before + heading + section, encoding="utf-8")


@contextmanager
def search_settings(folder: Path, idx_folder: Path) -> Iterator[SearchSettings]:
    """Create a project on small data, and yield its search's settings, inside its folder."""
    make_workspace(folder, idx_folder)
    with inside(folder):
        yield load_params().search()


@contextmanager
def opened_study(
    folder: Path, finalists: str = ""
) -> Iterator[tuple[SearchSettings, optuna.Study]]:
    """Open a folder's study, and close its connections at the end."""
    with inside(folder):
        settings = load_params().search()
        study = open_study(settings, finalists)
        try:
            yield settings, study
        finally:
            study._storage.remove_session()
            study._storage._backend.engine.dispose()  # type: ignore[attr-defined]


def with_tune(settings: SearchSettings, **tune: object) -> SearchSettings:
    """Return the settings with other values in the section tune."""
    return settings._replace(tune=settings.tune.model_copy(update=tune))


def start(
    folder: Path, *arguments: str, before: Sequence[str] = (), **variables: str
) -> subprocess.Popen[str]:
    """Start a command in a new session, by way of the program `before` if there is one."""
    inherited = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    return subprocess.Popen(
        [*before, sys.executable, "-u", "-m", "mnist12k", *arguments],
        cwd=folder,
        env=inherited | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(folder: Path, *arguments: str) -> str:
    """Run a command that succeeds, and return its output."""
    with start(folder, *arguments) as process:
        output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output
    return output


def read_until(process: subprocess.Popen[str], prefix: str) -> str:
    """Return a process's output up to its first line with this prefix."""
    assert process.stdout is not None
    output = ""
    for line in process.stdout:
        output += line
        if line.startswith(prefix):
            return output
    raise AssertionError(output)


def alive(session: int) -> list[int]:
    """Return the processes of a session that do not end within ten seconds."""
    processes = [process for process in psutil.process_iter() if _session(process.pid) == session]
    _, left = psutil.wait_procs(processes, timeout=10)
    return [process.pid for process in left if process.status() != psutil.STATUS_ZOMBIE]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def read_report(folder: Path, name: str) -> pd.DataFrame:
    """Return a table in reports/tune."""
    path = folder / "reports/tune" / name
    return pd.read_csv(path, dtype={"trial": str})
