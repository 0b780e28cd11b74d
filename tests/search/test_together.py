from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from optuna.trial import TrialState
from workspace import inside, make_workspace

from mnist12k.params import Params, load_params
from mnist12k.search.study import ended, fill_queue, open_study
from mnist12k.search.worker import work

pytestmark = pytest.mark.slow


@pytest.fixture
def params(tmp_path: Path, idx_folder: Path) -> Iterator[Params]:
    make_workspace(tmp_path, idx_folder)
    before = torch.get_num_threads()
    with inside(tmp_path):
        yield load_params()
    torch.set_num_threads(before)


def worked(params: Params, **changes: object) -> dict[str, tuple[TrialState, float | None]]:
    """Search without a process of its own; return what came of each trial, by its learning rate."""
    Path("optuna.journal").unlink(missing_ok=True)
    params = params.model_copy(update={"tune": params.tune.model_copy(update=changes)})
    study = open_study(params)
    fill_queue(study, params.tune)
    work(params)
    return {f"{t.params['learning_rate']:.6f}": (t.state, t.value) for t in ended(study)}


def test_trials_trained_together_end_where_each_would_alone(params: Params) -> None:
    # Few and small steps: float32's other order of sums grows with every one that follows.
    recipe = params.recipes[params.tune.recipe].model_copy(update={"epochs": 2})
    params = params.model_copy(update={"recipes": params.recipes | {params.tune.recipe: recipe}})
    space = {"learning_rate": {"low": 0.01, "high": 0.1}, "dropout": {"low": 0, "high": 0.1}}
    given = {"space": space, "sampler": "random", "trials": 5, "pruner": "none"}
    alone = worked(params, **given)
    together = worked(params, **given, together=2)  # 2, 2 and 1
    assert set(alone) == set(together)
    for rate, (state, value) in alone.items():
        assert state == together[rate][0] == TrialState.COMPLETE
        assert value == pytest.approx(together[rate][1], rel=0.015)


def test_one_that_diverges_is_pruned_and_leaves_the_others_alone(params: Params) -> None:
    space = {"learning_rate": [0.01, 1e20]}
    found = worked(params, space=space, sampler="grid", trials=2, together=2)
    assert sorted(state for state, _ in found.values()) == [TrialState.COMPLETE, TrialState.PRUNED]
    assert found["0.010000"][0] == TrialState.COMPLETE
