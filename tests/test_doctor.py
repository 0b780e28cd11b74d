import socket
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
from sqlalchemy import create_engine
from workspace import inside, make_workspace

from mnist12k import doctor
from mnist12k.digits.fetch import RAW
from mnist12k.doctor import Check, check_data, check_packages, check_store, report
from mnist12k.errors import UserError
from mnist12k.params import Params, load_params
from mnist12k.tracking.runs import PROCESS, create_run
from mnist12k.tracking.schema import REVISIONS
from mnist12k.tracking.store import connect

pytestmark = pytest.mark.slow


@pytest.fixture
def workspace(tmp_path: Path, idx_folder: Path) -> Iterator[Params]:
    make_workspace(tmp_path, idx_folder)
    with inside(tmp_path):
        yield load_params()


def test_a_package_of_another_version_is_named_with_both(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("pytest==0.1\nnowhere==1.0\nwindows-only==1 ; sys_platform == 'beos'\n")
    found = check_packages(lock)
    assert f"pytest is {pytest.__version__}, not ==0.1; nowhere is absent, not ==1.0" in found.found
    assert "2 packages" in found.found
    assert found.mend


def test_what_is_installed_is_what_the_lock_pins() -> None:
    assert check_packages(Path(__file__).parents[1] / "requirements.lock").mend == ""


def test_damaged_and_absent_data_are_named(
    tmp_path: Path, idx_folder: Path, idx_sha256: Mapping[str, str]
) -> None:
    raw = tmp_path / RAW
    raw.mkdir(parents=True)
    for path in idx_folder.iterdir():
        (raw / path.name).write_bytes(path.read_bytes())
    assert check_data(idx_sha256, tmp_path).mend == ""
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
    assert "t10k-labels-idx1-ubyte has another SHA-256" in check_data(idx_sha256, tmp_path).found
    (raw / "t10k-labels-idx1-ubyte").unlink()
    assert "lacks t10k-labels-idx1-ubyte" in check_data(idx_sha256, tmp_path).found


def test_asking_for_runs_makes_no_store(workspace: Params) -> None:
    assert check_store().mend
    assert not Path("mlflow.db").exists()
    assert workspace.train.epochs == 2


def test_a_run_left_open_is_named_with_what_ends_it(workspace: Params) -> None:
    client, experiment_id = connect()
    assert check_store().mend == ""
    run_id = create_run(client, experiment_id, workspace, time.time())
    client.set_tag(run_id, PROCESS, f"{socket.gethostname()}/999999999@1")
    found = check_store()
    assert str(client.get_run(run_id).info.run_name) in found.found
    assert found.mend == "`mnist12k publish`"


def test_a_store_of_an_older_mlflow_is_told_apart_unchanged_and_mended_as_told(
    tmp_path: Path,
) -> None:
    database = tmp_path / "mlflow.db"
    make_store_of_former_mlflow(database)
    before = database.read_bytes()
    with inside(tmp_path):
        found = check_store()
        assert "mlflow.db is of an older MLflow than the installed" in found.found
        assert found.mend == "`mlflow db upgrade sqlite:///mlflow.db`"
        assert database.read_bytes() == before
        told = found.mend.strip("`").split()
        subprocess.run([sys.executable, "-m", *told], check=True, capture_output=True)
        assert check_store().found == "the tracking store answers, 0 runs, none left open"


def test_a_store_of_a_newer_mlflow_is_told_apart(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as store, store:
        store.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        store.execute("INSERT INTO alembic_version VALUES ('f00f00f00f00')")
    with inside(tmp_path):
        found = check_store()
    assert "mlflow.db is of a newer MLflow than the installed" in found.found
    assert "install that MLflow" in found.mend


def test_a_store_that_is_no_database_is_told_with_what_makes_it_anew(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database " * 100)
    with inside(tmp_path):
        found = check_store()
    assert "does not answer: file is not a database" in found.found
    assert found.mend == "move mlflow.db away; `mnist12k publish` makes it anew"


def make_store_of_former_mlflow(database: Path) -> None:
    """Make a store as MLflow itself does, but leave out its last migration."""
    engine = create_engine(f"sqlite:///{database}")
    InitialBase.metadata.create_all(engine)
    config = Config()
    config.set_main_option("script_location", str(REVISIONS))
    former = ScriptDirectory(str(REVISIONS)).get_revision("head").down_revision
    assert isinstance(former, str)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, former)
    engine.dispose()


def test_a_server_that_is_down_is_told_within_seconds(
    workspace: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    started = time.perf_counter()
    assert "does not answer" in check_store().found
    assert time.perf_counter() - started < 30
    assert workspace.train.epochs == 2


def test_a_stale_file_store_is_named(tmp_path: Path) -> None:
    assert doctor.check_mlruns(tmp_path).mend == ""
    (tmp_path / "mlruns").mkdir()
    assert doctor.check_mlruns(tmp_path).mend


def test_every_check_is_a_line_and_the_number_wanting_is_the_error(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = [Check("all well"), Check("worn", "oil it"), Check("torn", "sew it")]
    monkeypatch.setattr(doctor, "examine", lambda _: iter(checks))
    told: list[str] = []
    with pytest.raises(UserError, match=r"^2 of the checks above need mending"):
        report(params, told.append)
    assert told == ["ok    all well", "mend  worn: oil it", "mend  torn: sew it"]
