import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from project import ROOT
from workspace import inside, make_workspace

from mnist12k.cnn.model_file import load_network
from mnist12k.tracking.store import connect

# A file system of a few kilobytes, visible only to this script and its children.
SMALL_DISK = ["unshare", "--map-root-user", "--mount", "sh", "-euc"]
SCRIPT = """
mount -t tmpfs -o size=64k none small
mkdir -p models reports checkpoints
for name in dvc.yaml params.yaml src data models reports checkpoints; do
  ln -s ../$name small/
done
cd small
mnist12k train
mount -o remount,size=1300k .
mnist12k evaluate
mount -o remount,size=64m .
mnist12k publish
mkdir ../kept
cp -r mlflow.db mlartifacts ../kept
"""


def can_mount(folder: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    command = [*SMALL_DISK, "mount -t tmpfs -o size=64k none ."]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


@pytest.mark.long
@pytest.mark.slow
def test_a_full_disk_is_one_warning_per_stage_and_is_completed_later(
    tmp_path: Path, idx_folder: Path
) -> None:
    if not can_mount(tmp_path):
        pytest.skip("this user cannot mount a file system")
    make_workspace(tmp_path, idx_folder)
    (tmp_path / "small").mkdir()
    programs = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    done = subprocess.run(
        [*SMALL_DISK, SCRIPT],
        cwd=tmp_path,
        env={"PATH": programs, "PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert ["warning: tracking failed" in line for line in lines] == [True, True]
    load_network(tmp_path / "models/cnn.pt", torch.device("cpu"))
    shutil.copy(tmp_path / "kept/mlflow.db", tmp_path)
    with inside(tmp_path):
        client, experiment_id = connect()
        (run,) = client.search_runs([experiment_id])
        assert run.info.status == "FINISHED"
        assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 2
    kept = tmp_path / "kept/mlartifacts" / run.info.run_id / "artifacts/evaluate"
    for path in (tmp_path / "reports/evaluate").iterdir():
        assert (kept / path.name).read_bytes() == path.read_bytes()
