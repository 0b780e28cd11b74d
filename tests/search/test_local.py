import os

import pytest

from mnist12k.errors import UserError
from mnist12k.params import Params
from mnist12k.search.local import worker_count


def asking_for(params: Params, workers: int | None) -> Params:
    train = params.train.model_copy(update={"device": "cpu"})
    tune = params.tune.model_copy(update={"workers": workers})
    return params.model_copy(update={"train": train, "tune": tune})


def test_by_itself_a_search_has_a_worker_a_core(params: Params) -> None:
    assert worker_count(asking_for(params, None)) == os.cpu_count()


def test_more_workers_than_cores_are_one_line_that_says_how_many_are_allowed(
    params: Params,
) -> None:
    cores = os.cpu_count() or 1
    with pytest.raises(UserError, match=rf"^tune.workers = 9999: .*allowed: 1 to {cores}$"):
        worker_count(asking_for(params, 9999))
