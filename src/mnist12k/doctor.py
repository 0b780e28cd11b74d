"""Check the installation and the workspace, and suggest fixes."""

import json
import platform
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import NamedTuple

from alembic.script import ScriptDirectory
from packaging.requirements import Requirement

from mnist12k.cnn.device import device_name, pick_device
from mnist12k.digits.fetch import file_sha256
from mnist12k.digits.settings import IDX_FILES, RAW, Fetch
from mnist12k.errors import UserError
from mnist12k.failures import CLONE, other_owner
from mnist12k.params import Params
from mnist12k.paths import DATA, LOCK, store_root
from mnist12k.repairs import check_conflicts, repair_lock_files
from mnist12k.tracking.publish import faults
from mnist12k.tracking.registry import champion_fault
from mnist12k.tracking.runs import abandoned_runs
from mnist12k.tracking.store import (
    EXPERIMENT,
    is_local,
    is_unauthenticated,
    local_database,
    open_client,
    reason,
)

PUBLISH = "`mnist12k publish`"
RECREATE_STORE = "move mlflow.db away and run `mnist12k publish`, which recreates it"
FIX_SCHEMA = {
    "an older": "`mlflow db upgrade sqlite:///mlflow.db`",
    "a newer": f"install that version; or {RECREATE_STORE}",
}
MIN_FREE = 1 << 30  # bytes, enough for a few experiments with their models


class Check(NamedTuple):
    """A check's result; `fix` says what to do, and is empty if all is well."""

    result: str
    fix: str = ""


def report(params: Params) -> None:
    """Print one line per check; raise UserError if any needs attention."""
    failed = 0
    for result, fix in run_checks(params):
        failed += bool(fix)
        print(f"fix   {result}: {fix}" if fix else f"ok    {result}")
    if failed:
        raise UserError(f"{failed} {'check needs' if failed == 1 else 'checks need'} attention")


def run_checks(params: Params) -> Iterator[Check]:
    """Yield the result of every check; damaged lock files of DVC are repaired first."""
    yield from check_owner(Path())
    yield from check_lock_files()
    yield check_packages(LOCK)
    yield check_device(params.train.device)
    yield check_data(params.fetch, DATA)
    yield check_mlruns(store_root())
    store = check_store()
    yield store
    if not store.fix:
        yield check_published(params)
    yield check_dvc()
    yield check_disk(Path())


def check_owner(folder: Path) -> Iterator[Check]:
    """Look for a project of another user, whose files DVC cannot change even where it may write."""
    if owner := other_owner(folder):
        yield Check(f"this project belongs to {owner}, and DVC works only in your own", CLONE)


def check_lock_files() -> Iterator[Check]:
    """Repair DVC's lock files, and look for merge conflicts in them."""
    try:
        for repaired in repair_lock_files():
            yield Check(repaired)
    except UserError as error:
        yield Check(str(error), "resolve this, then run `mnist12k repair`")
    if conflicts := check_conflicts():
        yield Check(*conflicts)


def check_packages(lock: Path) -> Check:
    """Compare the installed packages with the versions that the lock file pins."""
    try:
        lines = lock.read_text(encoding="utf-8").splitlines()
        requirements = [Requirement(line) for line in lines if "==" in line]
        if not requirements:
            raise ValueError("no package is named")
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        return Check(f"{lock} cannot be read ({cause})", f"`git restore {lock}`")
    pinned = [each for each in requirements if each.marker is None or each.marker.evaluate()]
    wrong = []
    for requirement in pinned:
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            installed = "missing"
        if installed not in requirement.specifier:
            wrong.append(f"{requirement.name} is {installed}, not {requirement.specifier}")
    result = f"Python {platform.python_version()}, {len(pinned)} packages in {lock}"
    if not wrong:
        return Check(result)
    more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return Check(f"{result}: {'; '.join(wrong[:3])}{more}", "`make clean repro` reinstalls them")


def check_device(name: str) -> Check:
    """Check that the device in params.yaml is on this machine."""
    try:
        return Check(f"train.device {name} is {device_name(pick_device(name))}")
    except UserError as error:
        return Check(str(error), "set train.device in params.yaml to auto")


def check_data(fetch: Fetch, root: Path) -> Check:
    """Look for the four files, and compare them with the digests in params.yaml."""
    fix = "`dvc repro fetch` downloads them"
    what = f"{fetch.name} in {root}"
    paths = {name: root / RAW / name for name in IDX_FILES}
    if missing := [name for name, path in paths.items() if not path.is_file()]:
        return Check(f"{what}: {', '.join(missing)} missing", fix)
    if fetch.sha256 is None:
        return Check(f"{what}: {len(paths)} files, not verified")
    if wrong := [name for name, path in paths.items() if file_sha256(path) != fetch.sha256[name]]:
        return Check(f"{what}: wrong SHA-256 of {', '.join(wrong)}", fix)
    return Check(f"{what}: {len(paths)} files, SHA-256 as in params.yaml")


def check_mlruns(root: Path) -> Check:
    """Look for an older MLflow's file store, which other tools would read instead."""
    if (root / "mlruns").is_dir():
        return Check("mlruns/ is a store that MLflow no longer writes", "move it away")
    return Check("no stale mlruns/")


def check_store() -> Check:
    """Query the tracking store, and look for runs whose process has ended."""
    database = local_database()
    if is_local() and not database.is_file():
        if database.exists():
            return Check("mlflow.db is not a file", "move it away")
        return Check("no runs yet: mlflow.db is missing", "`dvc repro` creates it")
    try:
        if is_local() and (age := schema_age(database)) in FIX_SCHEMA:
            return Check(f"mlflow.db was written by {age} MLflow", FIX_SCHEMA[age])
        client = open_client()
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return Check("the tracking store answers: no runs yet")
        if experiment.lifecycle_stage == "deleted":
            return Check(f"the experiment {EXPERIMENT} is deleted", PUBLISH)
        abandoned = abandoned_runs(client, experiment.experiment_id)
        count = len(client.search_runs([experiment.experiment_id]))
    except Exception as error:  # depends on the kind of store
        if is_unauthenticated(error):
            return Check(reason(error), "set both to the values from the server's administrator")
        fix = RECREATE_STORE if is_local() else "start the server that MLFLOW_TRACKING_URI names"
        return Check(f"the tracking store does not answer: {reason(error)}", fix)
    if abandoned:
        names = ", ".join(str(run.info.run_name) for run in abandoned)
        return Check(f"open runs whose process has ended: {names}", PUBLISH)
    return Check(f"the tracking store answers: {count} runs, none abandoned")


def check_published(params: Params) -> Check:
    """Compare the training in the workspace with its run, and load the registered models."""
    try:
        client = open_client()
        experiment = client.get_experiment_by_name(EXPERIMENT)
        lacking = faults(client, experiment.experiment_id if experiment else None, params)
        champion = champion_fault(client)
    except Exception as error:  # as above
        return Check(f"the tracking store does not answer: {reason(error)}", PUBLISH)
    if lacking:
        return Check(f"MLflow: {'; '.join(lacking)}", PUBLISH)
    if champion:
        return Check(champion, "`mnist12k promote --version N` chooses another version")
    return Check("MLflow has what the workspace has, and its models can be loaded")


def schema_age(database: Path) -> str:
    """Return which MLflow has written a SQLite store: `an older`, `a newer` or `the same`.

    Reads only: MLflow itself migrates some stores when it connects.
    """
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as store:
        (revision,) = store.execute("SELECT version_num FROM alembic_version").fetchone()
    migrations = ScriptDirectory(str(migrations_folder()))
    if revision == migrations.get_current_head():
        return "the same"
    earlier = {script.revision for script in migrations.walk_revisions()}
    return "an older" if revision in earlier else "a newer"


def migrations_folder() -> Path:
    """Return the folder of the installed MLflow's schema migrations."""
    return Path(str(distribution("mlflow").locate_file("mlflow/store/db_migrations")))


def check_dvc() -> Check:
    """Ask DVC what has changed since the last run."""
    command = [sys.executable, "-m", "dvc", "status", "--json", "dvc.yaml"]
    status = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if status.returncode:
        lines = status.stderr.strip().splitlines() or ["no reason given"]
        # Further lines, if any, advise.
        cause = next((line for line in lines if line.startswith("ERROR")), lines[-1])
        return Check(f"DVC: {cause}", "run it in a clone of the repository, not in a bare copy")
    changed = json.loads(status.stdout or "{}")
    if changed:
        return Check(f"DVC: changed since the last run: {', '.join(changed)}", "`dvc repro`")
    return Check("DVC: data and pipelines are up to date")


def check_disk(folder: Path) -> Check:
    """Check the free disk space."""
    free = shutil.disk_usage(folder).free
    result = f"{free / (1 << 30):.1f} GiB of free disk space"
    return Check(result) if free > MIN_FREE else Check(result, "`dvc gc --workspace` frees some")
