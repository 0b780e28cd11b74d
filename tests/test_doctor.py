import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from workspace import inside, make_workspace

from mnist12k import doctor
from mnist12k.digits.fetch import RAW
from mnist12k.doctor import Check, check_data, check_packages, check_store, report
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
