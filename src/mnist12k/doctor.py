"""What may be wrong with an installation or a workspace, and what mends it."""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from mnist12k.cnn.device import device_name, pick_device
from mnist12k.digits.fetch import RAW, file_sha256
from mnist12k.errors import UserError
from mnist12k.fingerprint import DATA
from mnist12k.params import Params
from mnist12k.stores import store_root
from mnist12k.tracking.attempts import is_refused, reason
from mnist12k.tracking.runs import abandoned_runs
from mnist12k.tracking.schema import schema_age
from mnist12k.tracking.store import connect, is_local

LOCK = Path("requirements.lock")
OTHER_SCHEMAS = {  # and what mends a store that has one
    "an older": "`mlflow db upgrade sqlite:///mlflow.db`",
    "a newer": "install that MLflow; or move mlflow.db away, and `mnist12k publish` makes it anew",
}
DISK = 1 << 30  # bytes that a few experiments with their models may take


class Check(NamedTuple):
    """What was found; `mend` says what to do about it, and is empty where all is well."""

    found: str
    mend: str = ""


def examine(params: Params) -> Iterator[Check]:
    """Yield every check as it is made; none changes anything."""
    yield check_packages(LOCK)
    yield check_device(params.train.device)
    yield check_data(params.fetch.sha256, DATA)
    yield check_mlruns(store_root())
    yield check_store()
    yield check_dvc()
    yield check_disk(Path())


def check_packages(lock: Path) -> Check:
    """Compare what is installed with what the lock file pins for this machine."""
    lines = [Requirement(line) for line in lock.read_text().splitlines() if "==" in line]
    pinned = [line for line in lines if line.marker is None or line.marker.evaluate()]
    wrong = []
    for requirement in pinned:
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            installed = "absent"
        if installed not in requirement.specifier:
            wrong.append(f"{requirement.name} is {installed}, not {requirement.specifier}")
    found = f"Python {platform.python_version()}, {len(pinned)} packages in {lock}"
    if not wrong:
        return Check(found)
    more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return Check(f"{found}: {'; '.join(wrong[:3])}{more}", "`make clean repro` installs anew")


def check_device(name: str) -> Check:
    """Look for the device that params.yaml asks for."""
    try:
        return Check(f"train.device {name} is {device_name(pick_device(name))}")
    except UserError as error:
        return Check(str(error), "set train.device in params.yaml to auto")


def check_data(sha256: Mapping[str, str], root: Path) -> Check:
    """Compare the four files with the digests in params.yaml."""
    mend = "`dvc repro fetch` brings them"
    paths = {name: root / RAW / name for name in sha256}
    if absent := [name for name, path in paths.items() if not path.is_file()]:
        return Check(f"MNIST in {root} lacks {', '.join(absent)}", mend)
    if wrong := [name for name, path in paths.items() if file_sha256(path) != sha256[name]]:
        return Check(f"MNIST in {root}: {', '.join(wrong)} has another SHA-256", mend)
    return Check(f"MNIST in {root}: {len(paths)} files, SHA-256 as in params.yaml")


def check_mlruns(root: Path) -> Check:
    """Look for a file store of an older MLflow, which other tools would take for the runs."""
    if (root / "mlruns").is_dir():
        return Check("mlruns/ is a store that MLflow no longer writes", "move it away")
    return Check("no stale mlruns/")


def check_store() -> Check:
    """Reach the tracking store, and look for runs whose process is gone."""
    database = store_root() / "mlflow.db"
    if is_local() and not database.is_file():
        return Check("no runs yet: there is no mlflow.db", "`make repro` makes the first")
    try:
        if is_local() and (age := schema_age(database)) in OTHER_SCHEMAS:
            return Check(f"mlflow.db is of {age} MLflow than the installed", OTHER_SCHEMAS[age])
        client, experiment_id = connect()
        zombies = abandoned_runs(client, experiment_id)
        count = len(client.search_runs([experiment_id]))
    except Exception as error:  # a store can be broken in as many ways as there are stores
        if is_refused(error):
            return Check(reason(error), "set both to what the server's administrator gave you")
        mend = "start the server that MLFLOW_TRACKING_URI names"
        if is_local():
            mend = "move mlflow.db away; `mnist12k publish` makes it anew"
        return Check(f"the tracking store does not answer: {reason(error)}", mend)
    if zombies:
        names = ", ".join(str(run.info.run_name) for run in zombies)
        return Check(f"runs left open by a process that is gone: {names}", "`mnist12k publish`")
    return Check(f"the tracking store answers, {count} runs, none left open")


def check_dvc() -> Check:
    """Ask DVC what has changed since the last run."""
    command = [sys.executable, "-m", "dvc", "status", "--json", "dvc.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Check(f"DVC: {reason}", "run it inside the project's clone, not in a bare copy")
    changed = json.loads(done.stdout or "{}")
    if changed:
        return Check(f"DVC: changed since the last run: {', '.join(changed)}", "`dvc repro`")
    return Check("DVC: data and pipelines are up to date")


def check_disk(folder: Path) -> Check:
    """Look at the free space."""
    free = shutil.disk_usage(folder).free
    found = f"{free / (1 << 30):.1f} GiB of disk are free"
    return Check(found) if free > DISK else Check(found, "make room: `dvc gc --workspace`")


def report(params: Params, tell: Callable[[str], None] = print) -> None:
    """Tell every check in a line, and raise UserError if any needs mending."""
    wanting = 0
    for check in examine(params):
        wanting += bool(check.mend)
        tell(f"mend  {check.found}: {check.mend}" if check.mend else f"ok    {check.found}")
    if wanting:
        raise UserError(f"{wanting} of the checks above need mending")
