import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT

from mnist12k.cli import main, mnist12k
from mnist12k.errors import UserError
from mnist12k.paths import project_root


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nothing but the two files that make it a project."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(code: str, folder: Path) -> "subprocess.Popen[str]":
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True)


def files(project: Path) -> set[Path]:
    return {path for path in project.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", mnist12k.commands)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 6


def test_the_help_lists_every_command_in_a_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {command} " in out for command in mnist12k.commands)
    assert "Other commands" not in out


def test_a_shell_completes_the_commands() -> None:
    variables = {
        "_MNIST12K_COMPLETE": "bash_complete",
        "COMP_WORDS": "mnist12k pr",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [Path(sys.executable).with_name("mnist12k")],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {line.rpartition(",")[2] for line in done.stdout.split()} == {"predict", "promote"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "No such command 'trian'"),
        (["train", "--fast"], "No such option"),
        (["predict"], "Missing argument"),
        (["promote", "--version", "x"], "'x' is not a valid integer"),
    ],
)
def test_a_wrong_argument_is_named_and_the_exit_code_is_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_mistake_in_params_is_one_line_exit_code_2_and_no_file(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(text.replace("dropout: null", "dropout: 1.5"), "utf-8")
    before = files(project)
    assert main(["train"]) == 2
    output = capsys.readouterr()
    assert output.err.splitlines() == [
        "mnist12k: error: params.yaml: train.dropout = 1.5: it should be less than 1"
    ]
    assert output.out == ""
    assert files(project) == before


def test_training_without_data_is_one_line_and_exit_code_2(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train"]) == 2
    assert "train-images-idx3-ubyte is missing" in capsys.readouterr().err
    assert not (project / "models").exists()


def test_evaluating_without_a_model_is_one_line_and_exit_code_2(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate"]) == 2
    assert capsys.readouterr().err.startswith("mnist12k: error: models/cnn.pt is missing")
    assert not (project / "reports").exists()


def test_an_absent_device_is_an_error_not_a_fall_back_and_no_run(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(text.replace("device: auto", "device: cuda:99"), "utf-8")
    assert main(["train"]) == 2
    assert "device = 'cuda:99' is not on this machine" in capsys.readouterr().err
    assert not (project / "mlflow.db").exists()


def test_a_command_works_from_any_folder_of_the_project(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "deep" / "inside").mkdir(parents=True)
    monkeypatch.chdir(project / "deep" / "inside")
    assert project_root() == project


def test_outside_a_project_the_error_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no params.yaml and dvc.yaml in"):
        project_root()


def test_python_m_mnist12k_is_the_same_command() -> None:
    command = [sys.executable, "-m", "mnist12k", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: mnist12k")


def test_the_help_appears_at_once() -> None:
    """Heavy libraries are imported by the command that needs them."""
    code = (
        "import sys, mnist12k.cli as cli; cli.main(['--help']);"
        "sys.exit(bool({'torch', 'mlflow', 'optuna', 'pandas', 'pydantic'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(os.name == "nt", reason="Windows tells of a closed pipe in another way")
def test_a_closed_pipe_ends_the_command_without_a_traceback(project: Path) -> None:
    code = (
        "import mnist12k.cli as cli\n"
        "cli.load = lambda: [print('line', flush=True) for _ in range(100_000)]\n"
        "raise SystemExit(cli.main(['train']))"
    )
    with start(code, project) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "line\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_existing_files_are_checked_without_pytorch() -> None:
    code = "import sys, mnist12k.stages.fetch; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


SLOW_COMMAND = """
import time, mnist12k.cli as cli
def load():
    print("ready", flush=True)
    while True:
        time.sleep(0.1)  # a signal that comes just before a sleep does not cut it short
cli.load = load
raise SystemExit(cli.main(["train"]))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to another process")
def test_ctrl_c_ends_without_a_traceback(project: Path) -> None:
    with start(SLOW_COMMAND, project) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, output = process.communicate(timeout=60)
    assert output == "mnist12k: stopped\n"
    assert process.returncode == 130
