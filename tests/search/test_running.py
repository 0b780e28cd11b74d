"""`mnist12k tune-worker`: processes of its own, in a folder of its own, for another's search."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from team_server import PostgreSQL
from tune_command import (
    new_folder,
    opened_study,
    read_report,
    read_until,
    search_settings,
    start,
    with_tune,
)

from mnist12k.errors import UserError
from mnist12k.search import running
from mnist12k.search.plan import plan
from mnist12k.search.queue import POINT, SEED, enqueue, fill_queue, finished
from mnist12k.search.running import help_study
from mnist12k.search.study import FINISHED, open_study, study_name
from mnist12k.search.worker import giving_up_lost_trials
from mnist12k.stages.tune import result_line

pytestmark = pytest.mark.slow


def test_a_worker_waits_for_its_search_and_ends_with_it(
    server: PostgreSQL, tmp_path: Path, idx_folder: Path
) -> None:
    first, second = (
        new_folder(tmp_path / name, idx_folder, storage=server.address, trials=8)
        for name in ("one", "two")
    )
    with start(second, "tune-worker") as worker:
        output = read_until(worker, "mnist12k-")
        assert "waiting for `mnist12k tune` with the same params.yaml, code, data" in output
        with start(first, "tune") as tune:
            coordinated = tune.communicate(timeout=500)[0]
        output += worker.communicate(timeout=60)[0]
    assert (tune.returncode, worker.returncode) == (0, 0), coordinated + output
    waiting, helping, *results, ended = output.splitlines()
    name = waiting.split(":")[0]
    assert helping == f"{name}: helping with 1 process"
    assert ended == f"{name} has ended; {len(results)} trials ran here"
    assert results
    assert set(results) <= set(coordinated.splitlines())  # the coordinator prints every trial
    assert len(read_report(first, "trials.csv")) == 8


def test_a_worker_empties_the_queues_of_a_search_and_its_finalists_without_a_coordinator(
    server: PostgreSQL, tmp_path: Path, idx_folder: Path
) -> None:
    folder = new_folder(
        tmp_path / "alone", idx_folder, storage=server.address, trials=2, seed=5, workers=2
    )
    with (
        opened_study(folder) as (settings, study),
        opened_study(folder, "f" * 32) as (_, finalists),
    ):
        fill_queue(study, plan(settings))
        for seed in (7, 8):
            enqueue(finalists, {}, {POINT: {"dropout": 0.05}, SEED: seed})
        with start(folder, "tune-worker") as worker:
            output = worker.communicate(timeout=300)[0]
        assert worker.returncode == 0, output
        assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
        assert [trial.state for trial in finalists.trials] == [TrialState.COMPLETE] * 2
    helping, *results, ended = output.splitlines()
    assert helping.endswith("helping with 2 processes")
    ended_after = " complete after 3 epochs"
    assert sorted(line.split(":")[0] for line in results) == [
        *(f"trial 0{ended_after}", f"trial 0 from seed 7{ended_after}"),
        *(f"trial 1{ended_after}", f"trial 1 from seed 8{ended_after}"),
    ]
    assert ended.endswith("the queue is empty, and no `mnist12k tune` runs it; 4 trials ran here")


def test_a_worker_of_a_finished_search_ends_at_once(
    server: PostgreSQL, tmp_path: Path, idx_folder: Path
) -> None:
    folder = new_folder(tmp_path / "ended", idx_folder, storage=server.address, seed=6)
    with opened_study(folder) as (_, study):
        study.set_user_attr(FINISHED, True)
        with start(folder, "tune-worker") as worker:
            output = worker.communicate(timeout=200)[0]
        assert worker.returncode == 0, output
        assert output == f"{study.study_name} has ended; 0 trials ran here\n"


def test_a_search_that_nobody_starts_is_an_error_of_one_line(
    server: PostgreSQL, tmp_path: Path, idx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "WAIT", 3)
    with search_settings(tmp_path, idx_folder) as settings:
        settings = with_tune(settings, storage=server.address, seed=99)
        with pytest.raises(UserError) as caught:
            help_study(settings, study_name(settings), result_line)
        assert str(caught.value) == (
            f"tune.storage = 'postgresql://mlflow:***@127.0.0.1:{server.port}/mlflow': no "
            f"{study_name(settings)} was started within 0.05 minutes; `mnist12k tune` starts it"
        )


def test_a_journal_without_the_search_is_an_error_of_one_line_at_once(
    tmp_path: Path, idx_folder: Path
) -> None:
    with search_settings(tmp_path, idx_folder) as settings:
        other = with_tune(settings, seed=2)
        for _ in range(2):
            with pytest.raises(UserError) as caught:
                help_study(other, study_name(other), result_line)
            assert str(caught.value) == (
                f"{tmp_path}/optuna.journal has no {study_name(other)}: start "
                "`mnist12k tune` here, or for workers on other machines set tune.storage to a "
                "PostgreSQL server's address"
            )
            open_study(settings)  # the journal has another search then


def test_a_worker_helps_a_search_in_a_journal_from_the_same_folder(
    tmp_path: Path, idx_folder: Path
) -> None:
    folder = new_folder(tmp_path / "journal", idx_folder, trials=12)
    with start(folder, "tune") as tune:
        output = read_until(tune, "mnist12k-")
        with start(folder, "tune-worker") as worker:
            output += tune.communicate(timeout=500)[0]
            helped = worker.communicate(timeout=60)[0]
    assert (tune.returncode, worker.returncode) == (0, 0), output + helped
    assert " has ended; " in helped
    assert len(read_report(folder, "trials.csv")) == 12


def test_an_error_of_all_worker_processes_is_printed_once(
    server: PostgreSQL, tmp_path: Path, idx_folder: Path
) -> None:
    folder = new_folder(tmp_path / "damaged", idx_folder, storage=server.address, seed=7, workers=2)
    with start(folder, "tune-worker") as worker:
        read_until(worker, "mnist12k-")  # it has read the data, and waits
        with opened_study(folder) as (settings, study):
            labels = folder / "data/mnist/MNIST/raw/train-labels-idx1-ubyte"
            labels.write_bytes(labels.read_bytes()[:100])
            fill_queue(study, plan(settings))
            output = worker.communicate(timeout=200)[0]
    assert worker.returncode == 2
    helping, error = output.splitlines()
    assert "helping with 2 processes" in helping
    assert error.startswith("mnist12k: error: ")
    assert "train-labels-idx1-ubyte" in error


def test_a_trial_that_was_queued_again_meanwhile_ends_its_worker_with_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = optuna.create_study()

    def lose(trial: optuna.Trial) -> float:
        study.tell(trial.number, state=TrialState.FAIL)
        trial.report(1, 1)
        return 1

    def lose_at_the_end(trial: optuna.Trial) -> float:
        study.tell(trial.number, state=TrialState.FAIL)
        return 1

    def fail(_: optuna.Trial) -> float:
        raise ValueError("a bug")

    for objective in (lose, lose_at_the_end):
        with giving_up_lost_trials("study"):
            study.optimize(objective, n_trials=1)
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(
            "mnist12k: warning: study: a trial was interrupted for over a minute"
        )
    with pytest.raises(ValueError, match="a bug"), giving_up_lost_trials("study"):
        study.optimize(fail, n_trials=1)
    assert finished(study) == []
