"""What people who know DVC do with a project: share it, queue, apply and branch experiments."""

import json
from pathlib import Path

import pytest
from project import Project, git

from mnist12k.files import read_yaml
from mnist12k.fingerprint import file_md5

pytestmark = pytest.mark.slow


def locked_model(project: Project) -> str:
    """Return the model's MD5 by dvc.lock."""
    outs = read_yaml(project.root / "dvc.lock")["stages"]["train"]["outs"]
    return str(next(out["md5"] for out in outs if out["path"] == "models/cnn.pt"))


def test_a_clone_that_only_pulls_has_the_model_its_run_and_the_champion(
    project: Project, tmp_path: Path
) -> None:
    project.run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "remote"))
    project.commit()
    project.run("dvc", "push")
    git(tmp_path, "clone", "-q", str(project.root), "clone")
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "pull")
    assert clone.contents() == project.contents()
    assert "Data and pipelines are up to date." in clone.run("dvc", "status", "dvc.yaml")
    clone.run("mnist12k", "publish")
    (run,), (original,) = clone.runs(), project.runs()
    assert run.data.params == original.data.params
    assert run.data.metrics["test/accuracy"] == original.data.metrics["test/accuracy"]
    champion = clone.client().get_model_version_by_alias("mnist12k-cnn", "champion")
    assert champion.run_id == run.info.run_id


def test_two_workers_of_the_queue_leave_one_run_per_experiment(project: Project) -> None:
    for momentum in (0.5, 0.6):
        name = f"momentum-{momentum}"
        project.run("dvc", "exp", "run", "--queue", "-n", name, "-S", f"train.momentum={momentum}")
    project.run("dvc", "exp", "run", "--run-all", "-j", "2")
    runs = [run for run in project.runs() if run.info.run_name.startswith("momentum-")]
    assert {run.data.params["train.momentum"] for run in runs} == {"0.5", "0.6"}
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    assert all("test/accuracy" in run.data.metrics for run in runs)


def test_an_experiment_can_be_applied_and_become_a_branch(project: Project) -> None:
    before = locked_model(project)
    project.run("dvc", "exp", "run", "-n", "tried", "-S", "train.momentum=0.5")
    tried = locked_model(project)
    assert tried != before
    project.git("checkout", "-q", ".")
    project.run("dvc", "checkout")
    assert file_md5(project.root / "models/cnn.pt") == before
    project.run("dvc", "exp", "apply", "tried")
    assert locked_model(project) == file_md5(project.root / "models/cnn.pt") == tried
    metrics = json.loads((project.root / "reports/evaluate/metrics.json").read_text("utf-8"))
    assert metrics["model_md5"] == tried
    assert project.run("mnist12k", "publish") == "MLflow is up to date\n"

    project.git("checkout", "-q", ".")
    project.run("dvc", "exp", "branch", "tried", "kept")
    project.git("checkout", "-q", "kept")
    project.run("dvc", "checkout")
    assert file_md5(project.root / "models/cnn.pt") == tried
    assert "Data and pipelines are up to date." in project.run("dvc", "status", "dvc.yaml")


def test_a_worktree_pulls_from_its_repository_and_has_a_store_of_its_own(
    project: Project, tmp_path: Path
) -> None:
    project.git("worktree", "add", "-q", "-b", "tree", str(tmp_path / "other tree"))
    tree = Project(tmp_path / "other tree")
    tree.run("dvc", "cache", "dir", "--local", str(project.root / ".dvc/cache"))
    tree.run("dvc", "checkout")
    tree.run("dvc", "repro")
    tree.run("mnist12k", "publish")
    assert tree.contents() == project.contents()
    assert [run.data.params for run in tree.runs()] == [run.data.params for run in project.runs()]


def test_a_project_in_a_subfolder_with_spaces_and_umlauts_works_like_any_other(
    project: Project, tmp_path: Path
) -> None:
    whole = tmp_path / "größere Sammlung"
    moved = project.copy_to(whole / "Übung 1" / "mnist 12k")
    for part in (".git", "mlartifacts"):
        (moved.root / part).rename(tmp_path / f"former{part}")
    (moved.root / "mlflow.db").unlink()
    git(whole, "init", "-q")
    moved.commit()
    moved.edit("momentum: null", "momentum: 0.5")
    moved.run("dvc", "repro")
    moved.commit()
    (run,) = moved.runs()
    assert run.data.metrics["test/accuracy"] > 0
    assert run.data.params["train.momentum"] == "0.5"
    assert "Data and pipelines are up to date." in moved.run("dvc", "status", "dvc.yaml")
    assert "failed" not in moved.run("mnist12k", "doctor")
