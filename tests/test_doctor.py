import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase
from networks import LOADED
from project import ROOT
from sqlalchemy import create_engine
from workspace import DEAD, inside, make_workspace

from mnist12k import doctor
from mnist12k.digits.settings import RAW
from mnist12k.doctor import (
    Check,
    check_data,
    check_packages,
    check_published,
    check_store,
    migrations_folder,
)
from mnist12k.errors import UserError
from mnist12k.params import Params, load_params
from mnist12k.tracking.runs import PROCESS, create_run
from mnist12k.tracking.store import connect

pytestmark = pytest.mark.slow


@pytest.fixture
def workspace(tmp_path: Path, idx_folder: Path) -> Iterator[Params]:
    make_workspace(tmp_path, idx_folder)
    with inside(tmp_path):
        yield load_params()


def test_a_wrong_package_is_reported_with_both_versions(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("pytest==0.1\nnowhere==1.0\nwindows-only==1 ; sys_platform == 'beos'\n")
    check = check_packages(lock)
    wrong = f"pytest is {pytest.__version__}, not ==0.1; nowhere is missing, not ==1.0"
    assert wrong in check.result
    assert "2 packages" in check.result
    assert check.fix


@pytest.mark.parametrize("content", [None, b"", b"\xff==1", b"no requirement ==="])
def test_a_missing_or_unreadable_lock_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    lock = tmp_path / "requirements.lock"
    if content is not None:
        lock.write_bytes(content)
    check = check_packages(lock)
    assert "requirements.lock cannot be read (" in check.result
    assert "\n" not in check.result
    assert check.fix == f"`git restore {lock}`"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_installed_packages_are_those_of_the_lock(lock: str) -> None:
    assert check_packages(ROOT / lock).fix == ""


def test_wrong_and_missing_data_are_named(
    tmp_path: Path, idx_folder: Path, idx_sha256: Mapping[str, str]
) -> None:
    raw = tmp_path / RAW
    raw.mkdir(parents=True)
    for path in idx_folder.iterdir():
        (raw / path.name).write_bytes(path.read_bytes())
    fetch = LOADED.fetch.model_copy(update={"sha256": dict(idx_sha256)})
    assert check_data(fetch, tmp_path).fix == ""
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
    assert "wrong SHA-256 of t10k-labels-idx1-ubyte" in check_data(fetch, tmp_path).result
    (raw / "t10k-labels-idx1-ubyte").unlink()
    assert "t10k-labels-idx1-ubyte missing" in check_data(fetch, tmp_path).result


def test_data_without_digests_is_said_not_to_be_verified(tmp_path: Path, idx_folder: Path) -> None:
    (tmp_path / RAW).parent.mkdir(parents=True)
    (tmp_path / RAW).symlink_to(idx_folder, target_is_directory=True)
    fetch = LOADED.fetch.model_copy(update={"sha256": None, "name": "letters"})
    assert check_data(fetch, tmp_path).result.endswith(f"{tmp_path}: 4 files, not verified")


@pytest.mark.usefixtures("workspace")
def test_the_check_creates_no_store() -> None:
    assert check_store().fix
    assert not Path("mlflow.db").exists()


def test_an_abandoned_run_is_named_with_the_command_that_ends_it(workspace: Params) -> None:
    client, experiment_id = connect()
    assert check_store().fix == ""
    run_id = create_run(client, experiment_id, workspace.train, time.time())
    client.set_tag(run_id, PROCESS, DEAD)
    check = check_store()
    assert str(client.get_run(run_id).info.run_name) in check.result
    assert check.fix == "`mnist12k publish`"


def test_a_deleted_experiment_is_named_and_stays_deleted(tmp_path: Path) -> None:
    with inside(tmp_path):
        client, experiment_id = connect()
        client.delete_experiment(experiment_id)
        assert check_store() == ("the experiment mnist12k is deleted", "`mnist12k publish`")
        assert client.get_experiment(experiment_id).lifecycle_stage == "deleted"


def test_what_mlflow_lacks_is_named_with_its_repair(published: Params) -> None:
    assert check_published(published).fix == ""
    (path,) = Path("mlartifacts").rglob("*.pt2")
    path.unlink()
    check = check_published(published)
    assert "has no usable model; mnist12k-cnn has no version of the run that can be" in check.result
    assert check.fix == "`mnist12k publish`"
    Path("reports/train/result.json").unlink()  # another training's workspace
    check = check_published(published)
    assert "version 1, the champion, cannot be loaded" in check.result
    assert check.fix.startswith("`mnist12k promote --version N`")


def test_the_store_of_an_older_mlflow_stays_unchanged_until_the_suggested_fix(
    tmp_path: Path,
) -> None:
    database = tmp_path / "mlflow.db"
    create_older_store(database)
    before = database.read_bytes()
    with inside(tmp_path):
        check = check_store()
        assert check.result == "mlflow.db was written by an older MLflow"
        assert check.fix == "`mlflow db upgrade sqlite:///mlflow.db`"
        assert database.read_bytes() == before
        command = check.fix.strip("`").split()
        subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
        assert check_store().result == "the tracking store answers: no runs yet"


def test_the_store_of_a_newer_mlflow_is_recognised(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as store, store:
        store.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        store.execute("INSERT INTO alembic_version VALUES ('f00f00f00f00')")
    with inside(tmp_path):
        check = check_store()
    assert check.result == "mlflow.db was written by a newer MLflow"
    assert "install that version" in check.fix


def test_for_a_damaged_store_the_fix_recreates_it(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database " * 100)
    with inside(tmp_path):
        check = check_store()
    assert "does not answer: file is not a database" in check.result
    assert check.fix == "move mlflow.db away and run `mnist12k publish`, which recreates it"


def create_older_store(database: Path) -> None:
    """Create a store as MLflow does, but without its last migration."""
    engine = create_engine(f"sqlite:///{database}")
    InitialBase.metadata.create_all(engine)
    config = Config()
    migrations = str(migrations_folder())
    config.set_main_option("script_location", migrations)
    previous = ScriptDirectory(migrations).get_revision("head").down_revision
    assert isinstance(previous, str)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, previous)
    engine.dispose()


@pytest.mark.usefixtures("workspace")
def test_a_server_that_is_down_is_reported_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    started = time.perf_counter()
    assert "does not answer" in check_store().result
    assert time.perf_counter() - started < 30


def test_a_stale_file_store_is_named(tmp_path: Path) -> None:
    assert doctor.check_mlruns(tmp_path).fix == ""
    (tmp_path / "mlruns").mkdir()
    assert doctor.check_mlruns(tmp_path).fix


@pytest.mark.parametrize(("count", "error"), [(1, "1 check needs"), (2, "2 checks need")])
def test_each_check_is_one_line_and_their_number_the_error(
    params: Params,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    count: int,
    error: str,
) -> None:
    checks = [Check("all well"), *[Check("worn", "oil it")] * count]
    monkeypatch.setattr(doctor, "run_checks", lambda _: iter(checks))
    with pytest.raises(UserError, match=f"^{error} attention$"):
        doctor.report(params)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["ok    all well", *["fix   worn: oil it"] * count]
