from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState
from tune_command import search_settings, with_tune

from mnist12k.search.plan import plan
from mnist12k.search.queue import POINT, fill_queue, finished
from mnist12k.search.results import epochs_table
from mnist12k.search.settings import SearchSettings
from mnist12k.search.study import open_study
from mnist12k.search.worker import work

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture
def settings(tmp_path: Path, idx_folder: Path) -> Iterator[SearchSettings]:
    with search_settings(tmp_path, idx_folder) as settings:
        yield settings


def run_search(
    settings: SearchSettings, **tune: object
) -> dict[str, tuple[TrialState, float | None]]:
    """Search within this process; return each trial's state and value by its learning rate."""
    Path("optuna.journal").unlink(missing_ok=True)
    settings = with_tune(settings, **tune)
    study = open_study(settings)
    without_recipe = [each for each in plan(settings) if POINT not in each[1]]  # whose rate is high
    fill_queue(study, without_recipe)
    work(settings, study.study_name)
    return {f"{t.params['learning_rate']:.6f}": (t.state, t.value) for t in finished(study)}


def test_a_batch_of_trials_ends_where_each_one_would_alone(settings: SearchSettings) -> None:
    # Few and small steps, since differences in float32 rounding grow with every step.
    settings = settings._replace(start=settings.start.model_copy(update={"epochs": 2}))
    space = {"learning_rate": {"low": 0.005, "high": 0.05}, "dropout": {"low": 0, "high": 0.1}}
    tune = {"space": space, "sampler": "random", "trials": 6, "pruner": "none"}
    alone = run_search(settings, **tune)
    batched = run_search(settings, **tune, together=2)  # 2, 2 and 1
    assert set(alone) == set(batched)
    for rate, (state, value) in alone.items():
        assert state == batched[rate][0] == TrialState.COMPLETE
        assert value == pytest.approx(batched[rate][1], rel=0.015)


def test_a_diverged_trial_is_pruned_and_the_others_of_its_batch_complete(
    settings: SearchSettings,
) -> None:
    space = {"learning_rate": [0.01, 1e20]}
    tune = {"space": space, "sampler": "grid", "trials": 2, "together": 2}
    results = run_search(settings, **tune)
    assert results["0.010000"][0] == TrialState.COMPLETE
    (diverged,) = results.keys() - {"0.010000"}
    assert results[diverged][0] == TrialState.PRUNED
    epochs = epochs_table(open_study(with_tune(settings, **tune)))
    assert epochs["train_loss"].astype(float).notna().all()
