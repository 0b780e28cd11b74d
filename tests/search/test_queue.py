import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from networks import LOADED
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from tune_command import search_settings, with_tune
from workspace import DEAD, ELSEWHERE

from mnist12k.errors import UserError
from mnist12k.search import digest, queue, study
from mnist12k.search.digest import study_digest
from mnist12k.search.plan import grid, plan
from mnist12k.search.queue import (
    ATTEMPTS,
    ENOUGH,
    PROCESS,
    fill_queue,
    finished,
    queued,
    requeue_dead,
    why_enough,
)
from mnist12k.search.samplers import NumberedSampler
from mnist12k.search.settings import SearchSettings
from mnist12k.search.space import parse_space
from mnist12k.search.study import open_study
from mnist12k.search.trial import suggest

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(tmp_path: Path, idx_folder: Path) -> Iterator[SearchSettings]:
    with search_settings(tmp_path, idx_folder) as settings:
        yield settings


def run_trials(settings: SearchSettings, study: optuna.Study, count: int) -> list[dict[str, Any]]:
    """Run queued trials as a worker does, but without training; return all points so far."""

    def objective(trial: optuna.Trial) -> float:
        return float(suggest(trial, parse_space(settings.tune.space))["learning_rate"])

    for _ in range(count):
        study.sampler = NumberedSampler(settings.tune, study)
        study.optimize(objective, n_trials=1)
    return [trial.params for trial in finished(study)]


def journal_storage(path: str) -> JournalStorage:
    return JournalStorage(JournalFileBackend(path))


def test_a_study_is_identified_by_its_space_network_and_data(settings: SearchSettings) -> None:
    known = study_digest(settings)
    assert study_digest(with_tune(settings, trials=99, workers=1, sampler="random")) == known
    assert study_digest(with_tune(settings, seed=2)) != known
    other = settings.train.model_copy(update={"architecture": LOADED.architecture("vgg")})
    assert study_digest(settings._replace(train=other)) != known
    assert study_digest(with_tune(settings, space={"dropout": [0, 0.1]})) != known
    other = settings.train.model_copy(update={"deterministic": True})
    assert study_digest(settings._replace(train=other)) != known
    path = Path("data/mnist/MNIST/raw/train-labels-idx1-ubyte")
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    assert study_digest(settings) != known


def test_an_edit_of_the_training_is_another_study(
    settings: SearchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = study_digest(settings)
    package = shutil.copytree(digest.PACKAGE, tmp_path / "package")
    monkeypatch.setattr(digest, "PACKAGE", package)
    assert study_digest(settings) == before
    for name in ("cnn/fit.py", "digits/dataset.py", "search/trial.py", "search/fused.py"):
        path = package / name
        code = path.read_bytes()
        path.write_bytes(code + b"# a change\n")
        assert study_digest(settings) != before
        path.write_bytes(code)
    (package / "search/plots.py").write_text("", encoding="utf-8")
    assert study_digest(settings) == before


def test_another_device_is_another_study(
    settings: SearchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = open_study(settings).study_name
    monkeypatch.setattr(study, "pick_device", lambda _: torch.device("meta"))
    assert open_study(settings).study_name != name


def test_another_study_of_the_same_name_is_an_error_of_one_line(settings: SearchSettings) -> None:
    study = open_study(settings)
    name = study.study_name
    study.set_user_attr("mnist12k.digest", "another")
    with pytest.raises(UserError, match=f"^tune.storage has a study {name} of other inputs; .*$"):
        open_study(settings)


def test_an_unreachable_database_is_an_error_of_one_line_within_seconds(
    settings: SearchSettings,
) -> None:
    unreachable = "postgresql://nobody@127.0.0.1:9/nothing"
    with pytest.raises(UserError, match=r"^tune.storage = 'postgresql://.*[Cc]onnection") as caught:
        open_study(with_tune(settings, storage=unreachable))
    assert "\n" not in str(caught.value)


def test_filling_the_queue_adds_only_what_is_missing(settings: SearchSettings) -> None:
    few = with_tune(settings, trials=5)
    study = open_study(few)
    fill_queue(study, plan(few))
    run_trials(few, study, 2)
    fill_queue(study, plan(few))
    assert (len(finished(study)), len(queued(study))) == (2, 3)


def test_a_search_has_enough_after_its_time_or_after_so_many_trials_without_a_lower_loss(
    settings: SearchSettings,
) -> None:
    patient = with_tune(settings, patience=2)
    study = open_study(patient)
    for loss, ends in ((0.3, False), (0.4, False), (0.2, False), (0.25, False), (0.2, True)):
        study.add_trial(optuna.trial.create_trial(value=loss))
        assert bool(why_enough(study, patient.tune, time.monotonic())) is ends
    timed = with_tune(settings, timeout=60)
    assert why_enough(study, timed.tune, time.monotonic() - 59) == ""
    reason = "tune.timeout = 60 seconds have passed"
    assert why_enough(study, timed.tune, time.monotonic() - 61) == reason
    fill_queue(study, [({}, {})] * 7)
    assert len(queued(study)) == 2
    study.set_user_attr(ENOUGH, reason)
    assert queued(study) == []


def test_an_interrupted_search_chooses_the_same_points(
    settings: SearchSettings, tmp_path: Path
) -> None:
    few = with_tune(settings, trials=14)  # the first ten points are random
    points = []
    for name, pieces in (("uninterrupted", [14]), ("interrupted", [3, 8, 3])):
        study = optuna.create_study(storage=journal_storage(str(tmp_path / name)))
        fill_queue(study, plan(few))
        for piece in pieces:
            chosen = run_trials(few, study, piece)
        points.append(chosen)
    assert points[0] == points[1]
    assert len({str(point) for point in points[0]}) == 14


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cma_es", "random"])
def test_every_sampler_stays_within_the_space(settings: SearchSettings, sampler: str) -> None:
    few = with_tune(settings, trials=13, sampler=sampler)
    study = open_study(few)
    fill_queue(study, plan(few))
    parameters = {
        "one_cycle": {"warm_up"},
        "cosine": {"final_fraction"},
        "step": {"step_size", "gamma"},
        "linear": set(),
    }
    for point in run_trials(few, study, 13):
        assert 0.05 <= point["learning_rate"] <= 1.5
        assert 0 <= point["dropout"] <= 0.1
        others = set(point) - {"learning_rate", "dropout", "schedule"}
        assert others == parameters[point["schedule"]]


def test_a_trial_of_a_dead_worker_is_queued_again_but_not_forever(
    settings: SearchSettings,
) -> None:
    few = with_tune(settings, trials=1)
    study = open_study(few)
    fill_queue(study, plan(few))
    chosen = []
    for attempt in range(1, ATTEMPTS + 1):
        trial = study.ask()
        chosen.append(suggest(trial, parse_space(few.tune.space)))
        trial.set_user_attr(PROCESS, DEAD)
        requeue_dead(study, {})
        assert len(queued(study)) == (1 if attempt < ATTEMPTS else 0)
    assert chosen == [chosen[0]] * ATTEMPTS
    fill_queue(study, plan(few))
    assert queued(study) == []


def test_a_trial_of_another_machines_worker_keeps_running(settings: SearchSettings) -> None:
    study = open_study(settings)
    fill_queue(study, plan(settings))
    trial = study.ask()
    trial.set_user_attr(PROCESS, ELSEWHERE)
    requeue_dead(study, {})
    assert study.trials[trial.number].state == TrialState.RUNNING


def test_a_trial_whose_worker_died_before_storing_its_name_is_queued_again(
    settings: SearchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study(settings)
    fill_queue(study, plan(settings))
    trial = study.ask()
    count = len(queued(study))
    unnamed_since: dict[int, float] = {}
    requeue_dead(study, unnamed_since)
    assert study.trials[trial.number].state == TrialState.RUNNING
    monkeypatch.setattr(queue, "GRACE", 0)
    requeue_dead(study, unnamed_since)
    assert study.trials[trial.number].state == TrialState.FAIL
    assert len(queued(study)) == count + 1


def test_a_grid_has_every_choice_and_five_points_per_range(settings: SearchSettings) -> None:
    cases = {"linear": {}, "cosine": {"final_fraction": [0, 0.1]}}
    space = {"batch_size": [64, 128], "schedule": cases}
    points = list(grid(parse_space(space | {"dropout": {"low": 0, "high": 0.4}})))
    assert len(points) == 2 * 3 * 5
    assert {point["dropout"] for point in points} == {0, 0.1, 0.2, 0.30000000000000004, 0.4}
    few = with_tune(settings, sampler="grid", space=space, trials=6)
    study = open_study(few)
    fill_queue(study, plan(few))
    fill_queue(study, plan(few))
    assert len(queued(study)) == 6


def test_a_grid_with_more_points_than_trials_is_an_error_of_one_line(
    settings: SearchSettings,
) -> None:
    few = with_tune(settings, sampler="grid", trials=9)
    with pytest.raises(UserError, match=r"^tune.trials = 9: the grid of tune.space has [\d,]+ poi"):
        fill_queue(open_study(few), plan(few))
