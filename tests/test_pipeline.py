"""The whole pipeline as a user runs it: a copy of the project, `dvc repro`, a real MLflow store."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from conftest import SMALL_TEST
from drawn_digits import twenty_pictures
from mlflow.entities import Run
from project import CONTRACT, ROOT, TRAINED, Project

from mnist12k.cnn.model_file import load_network
from mnist12k.digits.settings import RAW
from mnist12k.files import read_yaml
from mnist12k.params import load_params

pytestmark = pytest.mark.slow


@pytest.fixture
def tracked(project: Project) -> Run:
    (run,) = project.runs()
    return run


def test_one_command_leaves_every_file_of_the_contract(project: Project) -> None:
    # The page names its commit, so it is not expected to stay the same.
    paths = [*CONTRACT, "reports/index.html"]
    assert [path for path in paths if not (project.root / path).is_file()] == []


def test_the_second_run_runs_no_stage(project: Project) -> None:
    before = project.contents()
    output = project.run("dvc", "repro")
    assert "Running stage" not in output
    assert "Data and pipelines are up to date." in output
    assert project.contents() == before
    assert len(project.runs()) == 1


def test_predictions_and_metrics_agree(project: Project) -> None:
    metrics = json.loads((project.root / "reports/evaluate/result.json").read_text())
    predictions = project.table("reports/evaluate/predictions.csv")
    correct = (predictions["label"] == predictions["prediction"]).sum()
    assert metrics["test_total"] == len(predictions) == SMALL_TEST
    assert metrics["test_correct"] == correct
    assert metrics["test_accuracy"] == metrics["test_correct"] / metrics["test_total"]
    assert metrics["test_accuracy_low"] < metrics["test_accuracy"]


def test_the_run_holds_every_parameter_under_its_name_in_params_yaml(
    project: Project, tracked: Run
) -> None:
    path = project.root / "params.yaml"
    params = load_params(path)
    sections = {
        "train": params.train.model_dump(exclude={"architecture"}),
        "evaluate": params.evaluate.model_dump(),
        "networks.reference": read_yaml(path)["networks"]["reference"],
    }
    assert tracked.data.params == {
        f"{section}.{name}": str(value)
        for section, values in sections.items()
        for name, value in values.items()
    }


def test_the_run_holds_every_epoch_of_the_history(project: Project, tracked: Run) -> None:
    history = project.table("reports/train/history.csv")
    for metric, column in {
        "train/loss": "train_loss",
        "validation/accuracy": "validation_accuracy",
        "train/learning_rate": "learning_rate",
    }.items():
        logged = project.client().get_metric_history(tracked.info.run_id, metric)
        assert [(point.step, point.value) for point in sorted(logged, key=lambda p: p.step)] == [
            *zip(history["epoch"], history[column], strict=True)
        ]


def test_the_run_holds_the_test_result_the_data_and_where_it_ran(
    project: Project, tracked: Run
) -> None:
    metrics = json.loads((project.root / "reports/evaluate/result.json").read_text())
    assert tracked.info.status == "FINISHED"
    assert tracked.data.metrics["test/accuracy"] == metrics["test_accuracy"]
    assert tracked.data.metrics["test/loss"] == metrics["test_loss"]
    assert tracked.inputs is not None
    digests = {each.dataset.name: each.dataset.digest for each in tracked.inputs.dataset_inputs}
    for name, part, held_out in (
        *(("mnist-training", "train", 100), ("mnist-validation", "train", 100)),
        ("mnist-test", "t10k", 0),
    ):
        files = (f"{part}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1"))
        contents = ((project.root / "data/mnist" / RAW / file).read_bytes() for file in files)
        md5s = " ".join(hashlib.md5(content).hexdigest() for content in contents)  # noqa: S324
        assert digests.pop(name) == hashlib.sha256(f"{held_out} {md5s}".encode()).hexdigest()[:32]
    assert not digests
    assert len(tracked.data.tags["mnist12k.fingerprint"]) == 32
    assert len(tracked.data.tags["mlflow.source.git.commit"]) == 40
    assert tracked.data.tags["version.torch"] == torch.__version__.split("+")[0]
    assert tracked.data.tags["device"]
    assert tracked.data.tags["recipe"] == "best"
    assert tracked.data.tags["git.clean"] == "true"
    assert "dvc.experiment" not in tracked.data.tags


def test_the_run_holds_the_reports(project: Project, tracked: Run) -> None:
    client = project.client()
    names = {
        file.path
        for folder in ("train", "evaluate")
        for file in client.list_artifacts(tracked.info.run_id, folder)
    }
    assert {"train/history.csv", "train/result.json", "train/model_summary.txt"} <= names
    assert {
        "evaluate/confusion_matrix.png",
        "evaluate/predictions.csv",
        "evaluate/curves.png",
    } <= names


@pytest.mark.parametrize("batch", [1, 2, 1000])
@pytest.mark.filterwarnings(
    # torch.export reads its archive from a read-only buffer, which it does not write to.
    "ignore:The given buffer is not writable:UserWarning"
)
def test_the_logged_model_gives_the_logits_of_the_model_file(
    project: Project, tracked: Run, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    mlflow.set_tracking_uri(f"sqlite:///{project.root / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model(f"runs:/{tracked.info.run_id}/cnn")
    images = np.random.default_rng(1).random((batch, 1, 28, 28), dtype=np.float32)
    network = load_network(project.root / "models/cnn.pt", torch.device("cpu"))
    with torch.no_grad():
        logits = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(model.predict(images), logits, rtol=1e-4, atol=1e-5)
    assert model.metadata.signature is not None


def test_dvc_shows_metrics_plots_and_changed_params(project: Project) -> None:
    assert "test_accuracy" in project.run("dvc", "metrics", "show")
    output = project.run("dvc", "plots", "show", "-o", "plots")
    page = project.root / "plots" / "index.html"
    assert "train_loss" in page.read_text(encoding="utf-8"), output
    shutil.rmtree(project.root / "plots")
    project.edit("momentum: null", "momentum: 0.8")
    assert "train.momentum" in project.run("dvc", "params", "diff")


def test_a_mistake_in_params_stops_dvc_before_any_output_is_touched(project: Project) -> None:
    before = project.contents()
    project.edit("epochs: 2", "epochs: 0")
    output = project.run("dvc", "repro", code=255)
    assert "params.yaml: train.epochs = 0: it should be greater than or equal to 1" in output
    assert "Traceback" not in output
    assert project.contents() == before
    project.edit("epochs: 0", "epochs: 2")
    assert "Running stage" not in project.run("dvc", "repro")


@pytest.mark.long
def test_an_experiment_is_one_experiment_in_dvc_and_one_run(project: Project) -> None:
    before = len(project.runs())
    project.run("dvc", "exp", "run", "-n", "short", "-S", "train.epochs=1")
    assert len(project.runs()) == before + 1
    assert project.run("dvc", "exp", "list", "--name-only").split() == ["short"]
    (run,) = [run for run in project.runs() if run.info.run_name == "short"]
    assert run.data.tags["dvc.experiment"] == "short"
    assert run.data.tags["git.clean"] == "false"  # DVC has written -S into params.yaml


@pytest.mark.long
@pytest.mark.parametrize("network", ["vgg", "resnet"])
def test_another_network_runs_through_to_mlflow_the_page_and_predict(
    project: Project, network: str
) -> None:
    project.run("dvc", "exp", "run", "-n", "other", "-S", f"train.network={network}")
    (run,) = [run for run in project.runs() if run.info.run_name == "other"]
    assert run.data.tags["network"] == run.data.params["train.network"] == network
    assert "test/accuracy" in run.data.metrics
    model = load_network(project.root / "models/cnn.pt", torch.device("cpu"))
    listed = load_params(ROOT / "params.yaml").networks[network]
    assert (model.architecture.blocks, model.architecture.head) == (listed.blocks, listed.head)
    page = (project.root / "reports/index.html").read_text(encoding="utf-8")
    assert f"{network}: {len(model.architecture.blocks)} blocks and a head" in page
    (project.root / "pictures").mkdir()
    twenty_pictures(project.root / "pictures")
    for model_of in ([], ["--model", "models:/mnist12k-cnn@champion"]):
        lines = project.run("mnist12k", "predict", *model_of, "pictures").splitlines()
        assert len(lines) == 20


@pytest.mark.long
def test_an_experiment_in_a_temporary_copy_logs_into_the_projects_store(project: Project) -> None:
    before = len(project.runs())
    project.run("dvc", "exp", "run", "--temp", "-n", "apart", "-S", "train.momentum=0.5")
    (run,) = [run for run in project.runs() if run.info.run_name == "apart"]
    assert len(project.runs()) == before + 1
    assert run.data.params["train.momentum"] == "0.5"
    assert "test/accuracy" in run.data.metrics
    assert run.info.artifact_uri.startswith((project.root / "mlartifacts").as_uri())


@pytest.mark.long
def test_a_queued_experiment_is_one_run_in_the_projects_store(project: Project) -> None:
    before = len(project.runs())
    project.run("dvc", "exp", "run", "--queue", "-n", "queued", "-S", "train.momentum=0.6")
    assert len(project.runs()) == before
    project.run("dvc", "exp", "run", "--run-all")
    (run,) = [run for run in project.runs() if run.info.run_name == "queued"]
    assert len(project.runs()) == before + 1
    assert run.info.status == "FINISHED"
    assert run.data.params["train.momentum"] == "0.6"
    assert "test/accuracy" in run.data.metrics
    assert run.info.artifact_uri.startswith((project.root / "mlartifacts").as_uri())


@pytest.fixture(scope="module")
def two_trainings_template(
    project_template: Project, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """The project with another training on the branch `other`: never changed, only copied."""
    project = project_template.copy_to(tmp_path_factory.mktemp("template") / "two")
    project.git("checkout", "-q", "-b", "other")
    project.edit("label_smoothing: null", "label_smoothing: 0.1")
    project.run("dvc", "repro")
    project.commit()
    project.git("checkout", "-q", "-")
    project.run("dvc", "checkout")
    return project


@pytest.fixture
def two_trainings(two_trainings_template: Project, tmp_path: Path) -> Project:
    return two_trainings_template.copy_to(tmp_path / "two")


def runs_in_the_workspace(project: Project) -> list[Run]:
    figures = json.loads((project.root / "reports/train/result.json").read_text())
    return [
        run
        for run in project.runs()
        if run.data.tags["mnist12k.fingerprint"] == figures["fingerprint"]
    ]


@pytest.mark.long
def test_an_older_commit_checked_out_has_its_run_and_gets_it_back(two_trainings: Project) -> None:
    project = two_trainings
    before = {run.info.run_id for run in project.runs()}
    assert project.run("mnist12k", "publish") == "MLflow is up to date\n"
    assert {run.info.run_id for run in project.runs()} == before
    (run,) = runs_in_the_workspace(project)
    project.client().delete_run(run.info.run_id)
    project.run("mnist12k", "publish")
    (anew,) = runs_in_the_workspace(project)
    assert anew.info.status == "FINISHED"
    assert anew.data.params == run.data.params
    assert anew.data.metrics["test/accuracy"] == run.data.metrics["test/accuracy"]
    assert len(project.runs()) == len(before)


@pytest.mark.long
def test_a_training_restored_from_dvcs_cache_is_one_complete_run_in_an_empty_store(
    two_trainings: Project,
) -> None:
    project = two_trainings
    before = project.contents()
    project.git("restore", "--source=other", "dvc.lock")  # so that DVC sees a change
    for name in TRAINED:
        (project.root / name).unlink()
    (project.root / "mlflow.db").unlink()
    output = project.run("dvc", "repro")
    project.run("mnist12k", "publish")
    assert "Stage 'train' is cached" in output
    assert project.contents() == before
    (run,) = project.runs()
    assert run.info.status == "FINISHED"
    assert len(project.client().get_metric_history(run.info.run_id, "train/loss")) == 2
    assert "test/accuracy" in run.data.metrics


@pytest.mark.long
def test_a_lost_store_is_rebuilt_when_the_model_is_evaluated_again(project: Project) -> None:
    (project.root / "mlflow.db").unlink()
    project.run("mnist12k", "evaluate", cwd=project.root / "src")  # from any folder inside
    (run,) = project.runs()
    assert run.info.status == "FINISHED"
    assert len(project.client().get_metric_history(run.info.run_id, "train/loss")) == 2
    assert "test/accuracy" in run.data.metrics


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to another process")
def test_ctrl_c_in_a_training_marks_its_run_as_killed(project: Project) -> None:
    project.edit("epochs: 2", "epochs: 500")
    with project.training("mnist12k", "train") as process:
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "mnist12k: stopped"
    assert "Traceback" not in rest
    (killed,) = [run for run in project.runs() if run.data.params["train.epochs"] == "500"]
    assert killed.info.status == "KILLED"


def test_a_diverging_training_is_one_line_and_a_failed_run_and_keeps_the_last_model(
    project: Project,
) -> None:
    project.run("dvc", "repro", "--force", "--single-item", "train")  # the last good run
    before = project.contents()
    project.edit("learning_rate: null", "learning_rate: 1e20")
    output = project.run("dvc", "repro", "train", code=255)
    project.edit("learning_rate: 1e20", "learning_rate: null")
    (line,) = [line for line in output.splitlines() if "mnist12k: error" in line]
    assert "in epoch 1 at learning rate" in line
    assert "probably too high" in line
    assert "Traceback" not in output
    assert project.contents() == before
    (failed,) = [r for r in project.runs() if r.data.params["train.learning_rate"] == "1e+20"]
    assert failed.info.status == "FAILED"
    assert "Running stage 'train'" not in project.run("dvc", "repro")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL to send to another process")
def test_a_killed_training_resumes_and_ends_with_the_bits_of_an_uninterrupted_one(
    project: Project,
) -> None:
    project.edit("epochs: 2", "epochs: 12")
    project.run("mnist12k", "train")
    written = [project.root / path for path in ("models/cnn.pt", "models/epochs.npy")]
    uninterrupted = [path.read_bytes() for path in written]
    with subprocess.Popen(
        ["mnist12k", "train"],
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch  3"):
                break
        process.kill()
    for path in written:
        path.unlink()
    output = project.run("mnist12k", "train")
    assert "resuming an interrupted training after epoch" in output
    assert "epoch  1/12" not in output
    assert [path.read_bytes() for path in written] == uninterrupted
    assert len(project.table("reports/train/history.csv")) == 12
