from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from workspace import inside, make_workspace

from mnist12k.errors import UserError
from mnist12k.params import Params, load_params
from mnist12k.search import study as study_module
from mnist12k.search.study import (
    ATTEMPTS,
    PROCESS,
    ended,
    fill_queue,
    grid,
    new_sampler,
    open_study,
    requeue_dead,
    study_digest,
    waiting,
)
from mnist12k.search.trial import suggest
from mnist12k.space import parse_space

pytestmark = pytest.mark.slow
DEAD = "somewhere/1@1"


@pytest.fixture
def params(tmp_path: Path, idx_folder: Path) -> Iterator[Params]:
    make_workspace(tmp_path, idx_folder)
    with inside(tmp_path):
        yield load_params()


def changed(params: Params, **changes: object) -> Params:
    return params.model_copy(update={"tune": params.tune.model_copy(update=changes)})


def searched(params: Params, study: optuna.Study, trials: int) -> list[dict[str, Any]]:
    """Take trials off the queue as a worker does, with a result that needs no training."""

    def objective(trial: optuna.Trial) -> float:
        return float(suggest(trial, parse_space(params.tune.space))["learning_rate"])

    for _ in range(trials):
        study.sampler = new_sampler(params.tune, study)
        study.optimize(objective, n_trials=1)
    return [trial.params for trial in ended(study)]


def test_a_study_is_named_after_its_space_and_data(params: Params) -> None:
    digest = study_digest(params)
    assert study_digest(changed(params, trials=99, workers=1, sampler="random")) == digest
    assert study_digest(changed(params, seed=2)) != digest
    assert study_digest(changed(params, space={"dropout": [0, 0.1]})) != digest
    assert open_study(params).study_name.endswith(digest[:8])
    path = Path("data/mnist/MNIST/raw/train-labels-idx1-ubyte")
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    assert study_digest(params) != digest


def test_a_study_of_another_space_under_the_same_name_is_one_line(params: Params) -> None:
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend("optuna.journal")
    )
    name = f"mnist12k-{study_digest(params)[:8]}"
    study = optuna.create_study(storage=storage, study_name=name)
    study.set_user_attr("mnist12k.digest", "another")
    with pytest.raises(UserError, match=f"holds a study {name} of another space"):
        open_study(params)


def test_an_unreachable_database_is_one_line_within_seconds(params: Params) -> None:
    unreachable = "postgresql://nobody@127.0.0.1:9/nothing"
    with pytest.raises(UserError, match=r"^tune.storage = 'postgresql://.*[Cc]onnection") as caught:
        open_study(changed(params, storage=unreachable))
    assert "\n" not in str(caught.value)


def test_the_queue_holds_what_is_left_however_often_it_is_filled(params: Params) -> None:
    few = changed(params, trials=5)
    study = open_study(few)
    fill_queue(study, few.tune)
    searched(few, study, 2)
    fill_queue(study, few.tune)
    assert (len(ended(study)), len(waiting(study))) == (2, 3)


def test_one_worker_chooses_the_same_points_every_time_also_after_a_break(
    params: Params, tmp_path: Path
) -> None:
    few = changed(params, trials=14)  # TPE begins to model after ten
    points = []
    for name, pieces in (("unbroken", [14]), ("broken", [3, 8, 3])):
        (tmp_path / name).mkdir()
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(
                optuna.storages.journal.JournalFileBackend(str(tmp_path / name / "journal"))
            )
        )
        fill_queue(study, few.tune)
        for piece in pieces:
            found = searched(few, study, piece)
        points.append(found)
    assert points[0] == points[1]
    assert len({str(point) for point in points[0]}) == 14


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cma_es", "random"])
def test_every_sampler_stays_within_the_space(params: Params, sampler: str) -> None:
    few = changed(params, trials=13, sampler=sampler)
    study = open_study(few)
    fill_queue(study, few.tune)
    for point in searched(few, study, 13):
        assert 0.05 <= point["learning_rate"] <= 1.5
        assert 0 <= point["dropout"] <= 0.1
        conditional = {"one_cycle": {"warm_up"}, "cosine": {"final"}, "linear": set()}
        conditional["step"] = {"step_size", "gamma"}
        searched_there = set(point) - {"learning_rate", "dropout", "schedule"}
        assert searched_there == conditional[point["schedule"]]


def test_a_trial_whose_worker_died_is_queued_again_with_its_parameters_and_not_for_ever(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnist12k.processes.socket.gethostname", lambda: "somewhere")
    few = changed(params, trials=1)
    study = open_study(few)
    fill_queue(study, few.tune)
    chosen = []
    for attempt in range(1, ATTEMPTS + 1):
        trial = study.ask()
        chosen.append(suggest(trial, parse_space(few.tune.space)))
        trial.set_user_attr(PROCESS, DEAD)
        requeue_dead(study, {})
        assert len(waiting(study)) == (1 if attempt < ATTEMPTS else 0)
    assert chosen == [chosen[0]] * ATTEMPTS
    fill_queue(study, few.tune)
    assert waiting(study) == []


def test_a_trial_whose_worker_lives_is_left_alone(params: Params) -> None:
    study = open_study(params)
    fill_queue(study, params.tune)
    trial = study.ask()
    trial.set_user_attr(PROCESS, DEAD)  # of another machine: nobody here can tell
    requeue_dead(study, {})
    assert study.trials[trial.number].state == TrialState.RUNNING


def test_a_trial_whose_worker_died_before_it_named_itself_is_queued_again(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study(params)
    fill_queue(study, params.tune)
    trial = study.ask()
    queued = len(waiting(study))
    nameless_since: dict[int, float] = {}
    requeue_dead(study, nameless_since)
    assert study.trials[trial.number].state == TrialState.RUNNING  # it may be about to
    monkeypatch.setattr(study_module, "GRACE", 0)
    requeue_dead(study, nameless_since)
    assert study.trials[trial.number].state == TrialState.FAIL
    assert len(waiting(study)) == queued + 1


def test_a_grid_is_every_choice_and_five_points_a_range_once(params: Params) -> None:
    space = {"batch_size": [64, 128], "schedule": {"linear": {}, "cosine": {"final": [0, 0.1]}}}
    points = list(grid(parse_space(space | {"dropout": {"low": 0, "high": 0.4}})))
    assert len(points) == 2 * 3 * 5
    assert {point["dropout"] for point in points} == {0, 0.1, 0.2, 0.30000000000000004, 0.4}
    few = changed(params, sampler="grid", space=space, trials=6)
    study = open_study(few)
    fill_queue(study, few.tune)
    fill_queue(study, few.tune)
    assert len(waiting(study)) == 6


def test_a_grid_larger_than_the_number_of_trials_is_one_line(params: Params) -> None:
    few = changed(params, sampler="grid", trials=9)
    with pytest.raises(UserError, match=r"tune.trials = 9: the grid of tune.space has [\d,]+ poin"):
        fill_queue(open_study(few), few.tune)
