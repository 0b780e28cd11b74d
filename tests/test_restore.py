"""A training that fails leaves what lay there before it began."""

import shutil
import signal
import subprocess

import psutil
import pytest
from project import Project

pytestmark = pytest.mark.slow
OUTPUTS = ("models/cnn.pt", "reports/train/history.csv", "reports/train/metrics.json")
REPRO = ("dvc", "repro", "train")


def outputs(project: Project) -> list[bytes | None]:
    paths = [project.root / path for path in OUTPUTS]
    return [path.read_bytes() if path.exists() else None for path in paths]


def train_another(project: Project) -> None:
    project.edit("seed: 1\n", "seed: 2\n")
    project.run(*REPRO)


def diverge(project: Project) -> str:
    project.edit("learning_rate: null", "learning_rate: 1e20")
    return project.run(*REPRO, code=255)


def test_what_git_and_dvc_have_checked_out_is_restored(project: Project) -> None:
    before = outputs(project)
    train_another(project)
    assert outputs(project) != before
    project.git("checkout", "-q", ".")
    project.run("dvc", "checkout")
    assert outputs(project) == before
    diverge(project)
    assert outputs(project) == before


def test_a_training_without_dvc_is_restored(project: Project) -> None:
    before = outputs(project)
    project.edit("seed: 1\n", "seed: 2\n")
    project.run("mnist12k", "train")
    second = outputs(project)
    assert second != before
    diverge(project)
    assert outputs(project) == second


def test_a_clone_without_the_model_restores_what_git_has_and_names_the_rest(
    project: Project,
) -> None:
    before = outputs(project)
    for path in (".dvc/cache", "checkpoints"):
        shutil.rmtree(project.root / path)
    (project.root / "models/cnn.pt").unlink()
    output = diverge(project)
    assert outputs(project) == [None, *before[1:]]
    assert "no copy of the previous models/cnn.pt; `dvc pull` restores" in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_training_is_restored_and_its_run_killed(
    project: Project, number: signal.Signals
) -> None:
    before = outputs(project)
    project.edit("epochs: 2", "epochs: 500")
    with subprocess.Popen(
        REPRO,
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch"):
                break
        descendants = psutil.Process(process.pid).children(recursive=True)
        assert outputs(project) == [None, None, None]
        for descendant in descendants:
            if "mnist12k" in descendant.name():
                descendant.send_signal(number)
        rest, _ = process.communicate(timeout=60)
    assert "mnist12k: stopped" in rest
    assert "Traceback" not in rest
    assert outputs(project) == before
    assert {run.info.status for run in project.runs()} == {"KILLED", "FINISHED"}


def test_a_training_that_is_still_running_is_not_begun_twice(project: Project) -> None:
    before = outputs(project)
    project.edit("epochs: 2", "epochs: 500")
    with subprocess.Popen(
        ["mnist12k", "train"],
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch"):
                break
        output = project.run(*REPRO, code=255)
        process.kill()
    assert "mnist12k: error: another process runs this training; wait for it or stop it" in output
    assert outputs(project) == before
