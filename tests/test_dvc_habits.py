"""What people who know DVC do with a project: share it, queue, apply and branch experiments."""

import json
import signal
from pathlib import Path

import psutil
import pytest
from project import Project, git

from mnist12k.files import read_yaml
from mnist12k.fingerprint import file_md5
from mnist12k.outputs import EVALUATE_METRICS, TRAIN_METRICS
from mnist12k.stages.live import SIGNAL

pytestmark = [pytest.mark.slow, pytest.mark.long]


def locked_model(project: Project) -> str:
    """Return the model's MD5 by dvc.lock."""
    outs = read_yaml(project.root / "dvc.lock")["stages"]["train"]["outs"]
    return str(next(out["md5"] for out in outs if out["path"] == "models/cnn.pt"))


def shown(project: Project, *command: str) -> str:
    """Return the last line of what DVC shows; lines before it are advice."""
    return project.run("dvc", *command).strip().splitlines()[-1]


def test_a_running_training_is_seen_in_dvcs_metrics_plots_and_experiments(project: Project) -> None:
    before = project.contents()
    project.edit("epochs: 2", "epochs: 500")
    with project.training("dvc", "repro", "train") as process:
        metrics = json.loads(shown(project, "metrics", "show", "--json"))[""]["data"]
        plots = json.loads(shown(project, "plots", "show", "--json"))
        workspace, head = json.loads(shown(project, "exp", "show", "--json"))
        signalled = int((project.root / SIGNAL).read_text())
        (training,) = [
            child
            for child in psutil.Process(process.pid).children(recursive=True)
            if "mnist12k" in child.name()
        ]
        training.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    accuracy = metrics[str(TRAIN_METRICS)]["data"]["validation_accuracy"]
    assert 0 < accuracy <= 1
    assert "errors" not in plots
    (curve,) = [plot for plot in plots["data"]["loss"] if plot["type"] == "vega"]
    assert curve["revisions"] == ["workspace"]
    live = workspace["data"]["metrics"][str(TRAIN_METRICS)]["data"]
    assert list(live) == ["validation_accuracy"]
    assert head["data"]["metrics"][str(TRAIN_METRICS)]["data"].keys() == live.keys()
    assert signalled >= 1
    assert project.contents() == before  # what is shown of a stopped training does not stay


def test_dvc_compares_accuracies_and_nothing_that_tells_runs_apart(project: Project) -> None:
    project.run("dvc", "exp", "run", "--temp", "-n", "other", "-S", "train.seed=2")
    drop = ("--only-changed", "--drop", "Created|models|reports")
    rows = project.run("dvc", "exp", "show", "--csv", *drop)
    assert rows.splitlines()[0].split(",") == [
        *("Experiment", "rev", "typ"),
        *("validation_accuracy", "test_accuracy", "train.seed"),
    ]
    metrics = json.loads(shown(project, "metrics", "diff", "--json", "other"))
    assert {path: list(values) for path, values in metrics.items()} == {
        str(TRAIN_METRICS): ["validation_accuracy"],
        str(EVALUATE_METRICS): ["test_accuracy"],
    }


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
    metrics = json.loads((project.root / "reports/evaluate/result.json").read_text("utf-8"))
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
