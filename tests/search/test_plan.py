"""What is fixed of the trials before a sampler chooses the rest."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from tune_command import search_settings, with_tune

from mnist12k.cnn.history import Epoch
from mnist12k.errors import UserError
from mnist12k.search.plan import plan
from mnist12k.search.queue import POINT, enqueue, fill_queue, finished
from mnist12k.search.samplers import RANDOM_TRIALS, NumberedSampler, not_searched
from mnist12k.search.settings import SearchSettings
from mnist12k.search.space import parse_space
from mnist12k.search.study import open_study, say_what_chooses
from mnist12k.search.trial import run_trial, suggest

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(tmp_path: Path, idx_folder: Path) -> Iterator[SearchSettings]:
    with search_settings(tmp_path, idx_folder) as settings:
        yield settings


def test_the_recipe_itself_comes_first_and_then_ten_trials_of_every_schedule(
    settings: SearchSettings,
) -> None:
    (recipe, _), *others = plan(with_tune(settings, trials=60))
    assert settings.for_point(recipe, 1) == settings.for_point({}, 1)
    assert len(others) == 59
    shares = Counter(fixed["schedule"] for fixed, _ in others if fixed)
    assert shares == dict.fromkeys(["one_cycle", "cosine", "step", "linear"], 10)
    assert all(fixed.keys() <= {"schedule"} for fixed, _ in others)  # the sampler chooses the rest


def test_a_recipe_outside_the_space_is_trained_without_teaching_the_sampler(
    settings: SearchSettings,
) -> None:
    outside = with_tune(settings, space={"learning_rate": {"low": 1, "high": 2}})
    assert plan(outside)[0] == ({}, {POINT: {}})


def test_start_points_follow_the_recipe(settings: SearchSettings) -> None:
    points = ({"learning_rate": 0.3}, {"schedule": "cosine", "final_fraction": 0.05})
    given = with_tune(settings, start_points=points, trials=8)
    assert [fixed for fixed, _ in plan(given)[1:3]] == list(points)


def test_a_search_starts_from_the_best_points_of_another_study(settings: SearchSettings) -> None:
    space = {"learning_rate": {"low": 0.1, "high": 1}}
    first = with_tune(settings, space=space, trials=7)
    study = open_study(first)
    for number in range(7):
        enqueue(study, {"learning_rate": 0.1 * (number + 1)}, {})
    study.optimize(lambda trial: suggest(trial, parse_space(space))["learning_rate"], n_trials=7)
    narrow = {"learning_rate": {"low": 0.15, "high": 0.65}}
    second = with_tune(settings, space=narrow, trials=9, from_study=study.study_name)
    points = [fixed for fixed, _ in plan(second)[1:]]
    assert points[:5] == [{"learning_rate": 0.1 * number} for number in (2, 3, 4, 5, 6)]
    assert points[5:] == [{}] * 3
    with pytest.raises(UserError, match=r"^tune.from_study = 'none': studies in tune.storage: mn"):
        plan(with_tune(second, from_study="none"))


def test_workers_that_start_together_draw_different_points(settings: SearchSettings) -> None:
    study = open_study(settings)
    for _ in range(4):
        enqueue(study, {}, {})
    trials = []
    for _ in range(4):  # four workers take a trial before any of them draws
        worker = open_study(settings)
        worker.sampler = NumberedSampler(settings.tune, worker)
        trials.append(worker.ask())
    points = [suggest(trial, parse_space(settings.tune.space)) for trial in trials]
    assert len({point["learning_rate"] for point in points}) == 4


def test_the_random_trials_are_counted_once_whatever_the_pruner(settings: SearchSettings) -> None:
    """Optuna's TPE under Hyperband draws at random until every bracket has had its ten."""
    settings = with_tune(settings, pruner="hyperband", trials=RANDOM_TRIALS + 2)
    study = open_study(settings)
    fill_queue(study, [({}, {})] * settings.tune.trials)
    chosen_by = []
    for _ in range(settings.tune.trials):
        study.sampler = sampler = NumberedSampler(settings.tune, study)
        trial = study.ask()
        point = suggest(trial, parse_space(settings.tune.space))
        trial.report(point["learning_rate"], 1)
        study.tell(trial, point["learning_rate"])
        chosen_by.append(type(sampler.sampler).__name__)
    assert chosen_by == ["RandomSampler"] * RANDOM_TRIALS + ["TPESampler"] * 2


def test_a_trial_that_optuna_users_enqueue_is_trained(
    settings: SearchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = Epoch(1, 0.3, 0.5, 0.9, 0.25, 0.95, 1.0)
    monkeypatch.setattr("mnist12k.search.trial.fit", lambda *_: [epoch])
    study = open_study(settings)
    study.enqueue_trial({"learning_rate": 0.3})
    study.sampler = NumberedSampler(settings.tune, study)
    trial = study.ask()
    assert run_trial(trial, settings, (None, None)) == 0.25  # type: ignore[arg-type]
    assert trial.params["learning_rate"] == 0.3


def test_cma_es_says_what_it_does_not_search(
    settings: SearchSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = with_tune(settings, sampler="cma_es")
    assert not_searched(settings.tune, parse_space(settings.tune.space)) == [
        *("schedule", "warm_up", "final_fraction", "step_size", "gamma"),
    ]
    say_what_chooses(settings, open_study(settings))
    (line,) = capsys.readouterr().err.splitlines()
    assert "tune.sampler = cma_es does not search schedule, warm_up" in line


def test_another_sampler_or_pruner_on_finished_trials_is_said(
    settings: SearchSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    study = open_study(settings)
    say_what_chooses(settings, study)
    study.add_trial(optuna.trial.create_trial(state=TrialState.COMPLETE, value=1.0))
    assert len(finished(study)) == 1
    say_what_chooses(with_tune(settings, sampler="random"), open_study(settings))
    say_what_chooses(with_tune(settings, sampler="random"), open_study(settings))  # once
    (line,) = capsys.readouterr().err.splitlines()
    assert "its 1 finished trials were chosen by the sampler tpe" in line
