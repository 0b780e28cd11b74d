"""A search from the command line on small data, as a person runs it."""

import json
import os
import shutil
import signal
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from tune_command import alive, new_folder, read_until, rows, run, start
from workspace import inside

from mnist12k.params import load_params, read_yaml
from mnist12k.tracking.store import connect

pytestmark = pytest.mark.slow


def results(folder: Path) -> list[dict[str, str]]:
    """Return the trials without what a clock or a second attempt decides."""
    left_out = ("seconds", "trial")
    found = [
        {k: v for k, v in row.items() if k not in left_out} for row in rows(folder, "trials.csv")
    ]
    return sorted(found, key=lambda row: row["learning_rate"])


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, idx_folder: Path) -> Path:
    folder = new_folder(tmp_path_factory.mktemp("tune") / "searched", idx_folder)
    (folder / "told.txt").write_text(run(folder, "tune"))
    return folder


def test_a_search_leaves_its_tables_its_pictures_and_its_winner(searched: Path) -> None:
    names = {path.name for path in (searched / "reports/tune").iterdir()}
    assert names == {
        *("trials.csv", "epochs.csv", "finalists.csv", "ranking.md", "metrics.json"),
        *("best_params.yaml", "history.png", "importances.png", "intermediate_values.png"),
        *("parallel_coordinates.png", "slice.png"),
    }
    assert len(rows(searched, "trials.csv")) == 6
    assert len(rows(searched, "epochs.csv")) == 6 * 3
    told = (searched / "told.txt").read_text()
    assert told.count("complete after 3 epochs") == 6 + 3 * 2
    assert "Warning" not in told


def test_the_winner_is_the_finalist_with_the_lowest_mean_over_fresh_seeds(searched: Path) -> None:
    finalists = rows(searched, "finalists.csv")
    assert {row["seed"] for row in finalists} == {"2", "3"}  # the trials' is 1
    losses: dict[str, list[float]] = {}
    for row in finalists:
        losses.setdefault(row["trial"], []).append(float(row["validation_loss"]))
    by_search = sorted(rows(searched, "trials.csv"), key=lambda row: float(row["validation_loss"]))
    assert set(losses) == {"start", by_search[0]["trial"], by_search[1]["trial"]}
    best = min(losses, key=lambda trial: sum(losses[trial]))
    figures = json.loads((searched / "reports/tune/metrics.json").read_text())
    assert str(figures["winner_trial"] if figures["winner_trial"] is not None else "start") == best
    assert figures["winner_validation_loss_mean"] == sum(losses[best]) / 2
    ranking = (searched / "reports/tune/ranking.md").read_text().splitlines()
    assert f"| 1 | {best} |" in "\n".join(ranking)


def test_the_same_seed_with_one_worker_gives_the_same_trials_also_after_kills(
    searched: Path, tmp_path: Path, idx_folder: Path
) -> None:
    folder = new_folder(tmp_path / "killed", idx_folder)
    for number in (1, 3):
        with start(folder, "tune") as process:
            read_until(process, f"trial {number} ")
            os.killpg(process.pid, signal.SIGKILL)
    told = run(folder, "tune")
    assert "trials are there, " in told.splitlines()[0]
    assert results(folder) == results(searched)
    assert len({row["learning_rate"] for row in results(folder)}) == 6


def test_training_with_the_winner_reproduces_its_score_bit_for_bit(
    searched: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "applied"
    shutil.copytree(searched, folder, symlinks=True)
    before = (folder / "params.yaml").read_text(encoding="utf-8").splitlines()
    # Whoever won on so few images, the trials' best is a trial whose score is known.
    best = min(rows(folder, "trials.csv"), key=lambda row: float(row["validation_loss"]))
    given = ("trial", "state", "validation_loss", "validation_accuracy", "epochs", "seconds")
    lines = [f"  {name}: {value}" for name, value in best.items() if value and name not in given]
    text = "\n".join(["train:", "  recipe: fast", "  seed: 1", *lines])
    (folder / "reports/tune/best_params.yaml").write_text(text + "\n", encoding="utf-8")
    run(folder, "tune", "--apply")
    after = (folder / "params.yaml").read_text(encoding="utf-8").splitlines()
    changed = {
        new.split(":")[0].strip() for old, new in zip(before, after, strict=True) if old != new
    }
    assert changed <= {"recipe", "epochs", *(line.split(":")[0].strip() for line in lines)}
    assert [line.partition("#")[2] for line in after] == [line.partition("#")[2] for line in before]
    run(folder, "train")
    metrics = json.loads((folder / "reports/train/metrics.json").read_text())
    assert metrics["validation_loss"] == float(best["validation_loss"])
    assert metrics["validation_accuracy"] == float(best["validation_accuracy"])


def test_the_line_that_is_printed_names_what_best_params_holds(searched: Path) -> None:
    line = (searched / "told.txt").read_text().splitlines()[-1]
    best = read_yaml(searched / "reports/tune/best_params.yaml")["train"]
    assert line == "to train it: OMP_NUM_THREADS=1 dvc exp run " + " ".join(
        f"-S train.{name}={value}" for name, value in best.items()
    )


def test_mlflow_shows_a_run_a_study_with_a_child_a_trial(searched: Path) -> None:
    with inside(searched):
        client, experiment_id = connect()
        runs = client.search_runs([experiment_id])
        (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        children = [run for run in runs if run.data.tags.get("mlflow.parentRunId")]
        assert parent.info.status == "FINISHED"
        assert parent.data.params["tune.sampler"] == "tpe"
        pictures = {file.path for file in client.list_artifacts(parent.info.run_id, "tune")}
        assert {"tune/history.png", "tune/slice.png", "tune/best_params.yaml"} <= pictures
        assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
        trials = {row["trial"]: row for row in rows(searched, "trials.csv")}
        assert {run.data.tags["mnist12k.trial"] for run in children} == set(trials)
        for run in children:
            row = trials[run.data.tags["mnist12k.trial"]]
            assert run.data.params["train.learning_rate"] == row["learning_rate"]
            curve = client.get_metric_history(run.info.run_id, "validation/loss")
            assert [point.step for point in curve] == [1, 2, 3]
            assert curve[-1].value == float(row["validation_loss"])
            assert run.info.status == "FINISHED"


def test_a_pruned_trial_is_marked_as_pruned_not_as_finished(searched: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pruned"
    shutil.copytree(searched, folder, symlinks=True)
    (folder / "mlflow.db").unlink()
    trials = folder / "reports/tune/trials.csv"
    trials.write_text(trials.read_text().replace("complete", "pruned", 1))
    with inside(folder):
        from mnist12k.tracking.search import log_search

        log_search(load_params())
        log_search(load_params())  # adds nothing
        client: MlflowClient
        client, experiment_id = connect()
        runs = client.search_runs([experiment_id])
        assert len(runs) == 1 + 6
        (pruned,) = [run for run in runs if run.data.tags.get("optuna.state") == "pruned"]
        assert pruned.info.status == "KILLED"


def test_two_workers_share_the_trials_and_a_killed_one_loses_none(
    tmp_path: Path, idx_folder: Path
) -> None:
    folder = new_folder(tmp_path / "two", idx_folder, workers="2")
    with start(folder, "tune") as process:
        told = read_until(process, "trial ")
        workers = [
            child
            for child in psutil.Process(process.pid).children()
            if "spawn_main" in " ".join(child.cmdline())
        ]
        workers[0].kill()
        told += process.communicate(timeout=300)[0]
    assert process.returncode == 0, told
    assert len(rows(folder, "trials.csv")) == 6


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to another process")
def test_ctrl_c_ends_the_workers_too_and_says_so_in_a_line(
    tmp_path: Path, idx_folder: Path
) -> None:
    folder = new_folder(tmp_path / "stopped", idx_folder)
    with start(folder, "tune") as process:
        read_until(process, "trial ")
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "mnist12k: stopped"
    assert "Traceback" not in rest
    assert alive(process.pid) == []
