import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT
from workspace import inside

from mnist12k import cli
from mnist12k.tracking.store import connect

pytestmark = pytest.mark.slow


def test_processes_that_start_together_create_one_store(tmp_path: Path) -> None:
    program = "from mnist12k.tracking.store import connect; print(connect()[1])"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = {process.communicate(timeout=120)[0].strip() for process in processes}
    with inside(tmp_path):
        assert outputs == {connect()[1]}
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_store_that_cannot_be_created_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with inside(tmp_path), monkeypatch.context() as patch:
        patch.setattr("alembic.command.upgrade", fail_without_space)
        with pytest.raises(OSError, match="No space left"):
            connect()
        assert list(tmp_path.iterdir()) == []


def fail_without_space(*_: object) -> None:
    raise OSError("No space left on device")


def test_a_damaged_store_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "mlflow.db").write_bytes(b"no database " * 100)
    with inside(tmp_path):
        assert cli.main(["promote", "--version", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "mnist12k: error: tracking failed" in line
    assert "file is not a database" in line
