"""Installing: from exact versions, with or without CUDA, by uv or by pip.

The commands that would download are replaced by ones that write down how they were called.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from project import ROOT

LISTS = ("requirements.lock", "requirements-dev.lock")
CUDA = re.compile(r"^(nvidia|cuda|triton)", re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with the Makefile and an environment whose commands only note their calls."""
    for name in ("Makefile", "pyproject.toml", *LISTS):
        shutil.copy(ROOT / name, tmp_path)
    commands = tmp_path / ".venv/bin"
    commands.mkdir(parents=True)
    for name in ("python", "uv", "mnist12k", "dvc"):
        write_command(commands / name, 0)
    return tmp_path


def write_command(path: Path, code: int) -> None:
    path.write_text(f'#!/bin/sh\necho "{path.name} $*" >>calls\nexit {code}\n', encoding="utf-8")
    path.chmod(0o755)


def make(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=project, capture_output=True, text=True, check=False
    )


def calls(project: Path) -> list[str]:
    return (project / "calls").read_text(encoding="utf-8").splitlines()


def test_make_repro_installs_what_running_needs_by_uv_and_only_once(project: Path) -> None:
    assert make(project, "repro").returncode == 0
    (call,) = [each for each in calls(project) if each.startswith("uv ")]
    assert call.endswith("--python .venv/bin/python -r .venv/requirements.lock")
    written = (project / ".venv/requirements.lock").read_text(encoding="utf-8")
    assert written == (ROOT / "requirements.lock").read_text(encoding="utf-8")
    (project / "calls").unlink()
    assert make(project, "repro").returncode == 0
    assert calls(project) == ["mnist12k repair", "dvc repro", "mnist12k publish"]


def test_pip_installs_where_uv_fails(project: Path) -> None:
    write_command(project / ".venv/bin/uv", 1)
    assert make(project, "repro").returncode == 0
    (call,) = [each for each in calls(project) if each.startswith("python ") and " -r " in each]
    assert call.startswith("python -m pip install ")
    assert call.endswith(" -r .venv/requirements.lock")


def test_torch_cpu_installs_nothing_of_cuda_and_is_remembered(project: Path) -> None:
    assert make(project, "repro", "TORCH=cpu").returncode == 0
    assert make(project, ".venv/.testable").returncode == 0
    for name in LISTS:
        wanted = (project / ".venv" / name).read_text(encoding="utf-8")
        assert not CUDA.search(wanted)
        assert re.search(r"^torch==", wanted, re.MULTILINE)
    by_uv = [call for call in calls(project) if call.startswith("uv ")]
    assert len(by_uv) == 2
    assert all("--torch-backend cpu" in call for call in by_uv)


def test_torch_cpu_takes_pips_pytorch_from_pytorchs_own_index(project: Path) -> None:
    write_command(project / ".venv/bin/uv", 1)
    assert make(project, "repro", "TORCH=cpu").returncode == 0
    (call,) = [each for each in calls(project) if each.startswith("python ") and " -r " in each]
    assert "--extra-index-url https://download.pytorch.org/whl/cpu" in call


@pytest.mark.parametrize(
    ("made_with", "given", "message"),
    [
        ("", "gpu", "TORCH=gpu: it can be cpu, or pypi, the default"),
        ("pypi", "cpu", "TORCH=cpu: .venv was made with TORCH=pypi; `make clean` removes it"),
        ("cpu", "pypi", "TORCH=pypi: .venv was made with TORCH=cpu; `make clean` removes it"),
    ],
)
def test_another_torch_is_one_line_and_installs_nothing(
    project: Path, made_with: str, given: str, message: str
) -> None:
    if made_with:
        (project / ".venv/.torch").write_text(made_with, encoding="utf-8")
    done = make(project, "repro", f"TORCH={given}")
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (project / "calls").exists()
