"""A search from the command line, on small data."""

import os
import re
import shutil
import signal
from pathlib import Path

import pandas as pd
import psutil
import pytest
from mlflow import MlflowClient
from tune_command import alive, new_folder, read_report, read_until, run, set_tune, start
from workspace import inside

from mnist12k.files import read_json, read_yaml, write_table
from mnist12k.outputs import TRAIN_RESULT, TRIAL_COLUMNS, TUNE_METRICS, TuneMetrics
from mnist12k.params import load_params
from mnist12k.tracking.log_search import log_search
from mnist12k.tracking.store import connect

pytestmark = pytest.mark.slow


def reproducible_results(folder: Path) -> pd.DataFrame:
    """Return the trials, without their seconds and without numbers that retries would shift."""
    trials = read_report(folder, "trials.csv").drop(columns=["seconds", "trial"])
    return trials.sort_values("learning_rate", ignore_index=True)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, idx_folder: Path) -> Path:
    """The folder of a finished search, with its output in output.txt: only read, or copied."""
    folder = new_folder(tmp_path_factory.mktemp("tune") / "searched", idx_folder)
    (folder / "output.txt").write_text(run(folder, "tune"))
    return folder


def test_a_search_writes_its_tables_figures_and_winner(searched: Path) -> None:
    names = {path.name for path in (searched / "reports/tune").iterdir()}
    assert names == {
        *("trials.csv", "epochs.csv", "finalists.csv", "ranking.md", "metrics.json"),
        *("best_params.yaml", "importances.png", "by_choice.png", "by_range.png"),
        *("race.png", "pruning.png"),
    }
    assert len(read_report(searched, "trials.csv")) == 6
    assert len(read_report(searched, "epochs.csv")) == 6 * 3
    output = (searched / "output.txt").read_text()
    metrics = read_json(searched / TUNE_METRICS, TuneMetrics)
    trained = len(read_report(searched, "finalists.csv"))
    assert metrics.trainings_of_finalists == trained <= 12
    assert output.count("complete after 3 epochs") == 6 + trained
    assert "Warning" not in output


def test_the_verdict_is_everywhere_the_same(searched: Path) -> None:
    metrics = read_json(searched / TUNE_METRICS, TuneMetrics)
    finalists = read_report(searched, "finalists.csv")
    judged = finalists[finalists["round"] == "verdict"]
    losses = judged.pivot_table("validation_loss", "seed", "trial")
    challenger = losses[str(metrics.challenger_trial)]
    differences = (challenger - losses["start"]).tolist()
    assert metrics.verdict_seeds == len(differences) == 3
    assert metrics.difference_mean == pytest.approx(sum(differences) / 3, rel=1e-12)
    raced = finalists[finalists["round"] == "race"]
    assert not set(raced["seed"]) & set(judged["seed"])
    assert 1 not in set(finalists["seed"])  # the trials' seed
    assert metrics.verdict in ("better", "worse", "no difference shown")

    summary = metrics.summary()
    assert f"{metrics.difference_mean:+.5f}" in summary
    assert summary.endswith(f": {metrics.verdict}")
    assert f"\n{summary}\n" in (searched / "output.txt").read_text()
    assert f": {summary}.\n" in (searched / "reports/tune/ranking.md").read_text()
    best = read_yaml(searched / "reports/tune/best_params.yaml")
    assert best["verdict"] == {
        "verdict": metrics.verdict,
        "difference": metrics.difference_mean,
        "low": metrics.difference_low,
        "high": metrics.difference_high,
        "seeds": 3,
    }
    with inside(searched):
        client, experiment_id = connect()
        runs = client.search_runs([experiment_id])
        (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.data.tags["mnist12k.verdict"] == metrics.verdict
    assert parent.data.metrics["tune/difference_mean"] == metrics.difference_mean
    assert parent.data.tags["mlflow.note.content"] == summary


@pytest.mark.long
def test_an_interrupted_search_gives_the_same_trials(
    searched: Path, tmp_path: Path, idx_folder: Path
) -> None:
    folder = new_folder(tmp_path / "interrupted", idx_folder)
    for _ in range(2):
        with start(folder, "tune") as process:
            read_until(process, "trial ")
            os.killpg(process.pid, signal.SIGKILL)
    output = run(folder, "tune")
    assert "trials finished, " in output.splitlines()[0]
    results = reproducible_results(folder)
    pd.testing.assert_frame_equal(results, reproducible_results(searched), check_exact=True)
    assert results["learning_rate"].is_unique


def test_what_is_printed_trains_the_challenger_to_the_same_bits_whatever_train_overrides(
    searched: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "applied"
    shutil.copytree(searched, folder, symlinks=True)
    # The best trial, whose score is known, in the place of the challenger.
    trials = read_report(folder, "trials.csv").convert_dtypes().sort_values("validation_loss")
    best = trials.iloc[0]
    point = best.drop(list(TRIAL_COLUMNS)).dropna()
    lines = [f"  {name}: {value}" for name, value in point.items()]
    verdict = "verdict: {verdict: better}"
    text = "\n".join([verdict, "train:", "  recipe: fast", "  seed: 1", *lines, "...", ""])
    (folder / "reports/tune/best_params.yaml").write_text(text, encoding="utf-8")
    overridden = (folder / "params.yaml").read_text(encoding="utf-8")
    for key, value in (("momentum", 0.5), ("batch_size", 500), ("label_smoothing", 0.1)):
        overridden, count = re.subn(rf"(?m)^  {key}: null", f"  {key}: {value}", overridden)
        assert count == 1
    (folder / "params.yaml").write_text(overridden, encoding="utf-8")
    output = (searched / "output.txt").read_text()
    (command,) = re.findall(r"`(mnist12k tune --apply[^`]*)`", output)
    assert "`dvc repro` then trains it" in output
    run(folder, *command.removeprefix("mnist12k ").split())
    after = (folder / "params.yaml").read_text(encoding="utf-8").splitlines()
    before = overridden.splitlines()
    assert [line.partition("#")[2] for line in after] == [line.partition("#")[2] for line in before]
    run(folder, "train")
    metrics = pd.read_json(folder / TRAIN_RESULT, typ="series", precise_float=True)
    assert metrics["validation_loss"] == best["validation_loss"]
    assert metrics["validation_accuracy"] == best["validation_accuracy"]


@pytest.mark.parametrize("verdict", ["no difference shown", "worse"])
def test_what_is_not_better_is_only_applied_by_force(
    searched: Path, tmp_path: Path, verdict: str
) -> None:
    folder = tmp_path / "applied"
    shutil.copytree(searched, folder, symlinks=True)
    path = folder / "reports/tune/best_params.yaml"
    text = re.sub("verdict: [a-z ]+$", f"verdict: {verdict}", path.read_text(), flags=re.MULTILINE)
    path.write_text(text)
    before = (folder / "params.yaml").read_bytes()
    with start(folder, "tune", "--apply") as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert output == (
        f"mnist12k: error: reports/tune/best_params.yaml against its recipe fast: {verdict}; "
        "`mnist12k tune --apply --force` writes it to params.yaml nevertheless\n"
    )
    assert (folder / "params.yaml").read_bytes() == before
    run(folder, "tune", "--apply", "--force")
    assert (folder / "params.yaml").read_bytes() != before


def test_mlflow_has_one_run_per_search_with_a_child_per_trial_and_training_of_a_finalist(
    searched: Path,
) -> None:
    with inside(searched):
        client, experiment_id = connect()
        runs = client.search_runs([experiment_id])
        (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        children = [run for run in runs if run.data.tags.get("mlflow.parentRunId")]
        assert parent.info.status == "FINISHED"
        assert parent.data.tags["tune.sampler"] == "tpe"
        artifacts = {file.path for file in client.list_artifacts(parent.info.run_id, "tune")}
        assert {"tune/importances.png", "tune/best_params.yaml"} <= artifacts
        assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
        trials = read_report(searched, "trials.csv").set_index("trial")
        finalists = read_report(searched, "finalists.csv")
        by_name = {run.data.tags["mnist12k.trial"]: run for run in children}
        of_finalists = (finalists["trial"] + " from seed " + finalists["seed"].astype(str)).tolist()
        assert set(by_name) == {*trials.index, *of_finalists}
        for name, loss in zip(of_finalists, finalists["validation_loss"], strict=True):
            assert by_name[name].data.metrics["validation/loss"] == loss
        for number, trial in trials.iterrows():
            run = by_name[str(number)]
            assert float(run.data.params["train.learning_rate"]) == trial["learning_rate"]
            curve = client.get_metric_history(run.info.run_id, "validation/loss")
            assert [point.step for point in curve] == [1, 2, 3]
            assert curve[-1].value == trial["validation_loss"]
            assert run.info.status == "FINISHED"


def test_mlflow_shows_a_pruned_trial_as_killed(searched: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pruned"
    shutil.copytree(searched, folder, symlinks=True)
    (folder / "mlflow.db").unlink()
    trials = read_report(folder, "trials.csv").convert_dtypes()
    write_table(
        folder / "reports/tune/trials.csv",
        trials.assign(state=["pruned", *trials["state"].iloc[1:]]),
    )
    with inside(folder):
        settings = load_params().search()
        log_search(settings)
        log_search(settings)  # adds nothing
        client: MlflowClient
        client, experiment_id = connect()
        runs = client.search_runs([experiment_id])
        assert len(runs) == 1 + 6 + len(read_report(folder, "finalists.csv"))
        (pruned,) = [run for run in runs if run.data.tags.get("optuna.state") == "pruned"]
        assert pruned.info.status == "KILLED"


@pytest.mark.long
def test_a_longer_search_goes_on_and_its_run_shows_it(searched: Path, tmp_path: Path) -> None:
    folder = tmp_path / "longer"
    shutil.copytree(searched, folder, symlinks=True)
    set_tune(folder, trials=9)
    assert "6 trials finished, 3 to go" in run(folder, "tune")
    with inside(folder):
        client, experiment_id = connect()
        runs = client.search_runs([experiment_id])
        (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.info.status == "FINISHED"
    assert (parent.data.tags["tune.trials"], parent.data.metrics["tune/trials"]) == ("9", 9)


@pytest.mark.long
def test_a_search_stops_when_its_patience_ends_and_goes_on_with_more(
    tmp_path: Path, idx_folder: Path
) -> None:
    folder = new_folder(tmp_path / "patient", idx_folder, patience=2, trials=30, finalist_budget=8)
    output = run(folder, "tune")
    assert "tune.patience = 2 trials have brought no lower loss; no further trial starts" in output
    count = len(read_report(folder, "trials.csv"))
    assert 3 <= count < 30
    set_tune(folder, patience="null")
    assert f"{count} trials finished, " in run(folder, "tune")
    assert len(read_report(folder, "trials.csv")) == 30


@pytest.mark.long
def test_a_killed_worker_is_replaced_and_loses_no_trial(tmp_path: Path, idx_folder: Path) -> None:
    folder = new_folder(tmp_path / "two", idx_folder, workers=2)
    with start(folder, "tune") as process:
        output = read_until(process, "trial ")
        workers = [
            child
            for child in psutil.Process(process.pid).children()
            if "spawn_main" in " ".join(child.cmdline())
        ]
        workers[0].kill()
        output += process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    assert len(read_report(folder, "trials.csv")) == 6


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send SIGINT to another process")
def test_ctrl_c_stops_the_workers_too_prints_one_line_and_keeps_the_results_of_an_earlier_search(
    tmp_path: Path, idx_folder: Path
) -> None:
    folder = new_folder(tmp_path / "stopped", idx_folder)
    earlier = folder / "reports/tune/trials.csv"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("of an earlier search\n")
    with start(folder, "tune") as process:
        read_until(process, "trial ")
        read_until(process, "trial ")  # the first one has been logged
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "mnist12k: stopped"
    assert "Traceback" not in rest
    assert alive(process.pid) == []
    assert list(earlier.parent.iterdir()) == [earlier]
    assert earlier.read_text() == "of an earlier search\n"
