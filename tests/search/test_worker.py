import os

import pytest
from tune_command import with_tune

from mnist12k.errors import UserError
from mnist12k.params import Params
from mnist12k.search.pools import worker_count
from mnist12k.search.settings import SearchSettings


@pytest.fixture
def settings(params: Params) -> SearchSettings:
    settings = params.search()
    return settings._replace(train=settings.train.model_copy(update={"device": "cpu"}))


def test_there_is_one_worker_per_core_by_default(settings: SearchSettings) -> None:
    assert worker_count(with_tune(settings, workers=None)) == os.cpu_count()


def test_more_workers_than_cores_are_an_error_of_one_line(settings: SearchSettings) -> None:
    cores = os.cpu_count() or 1
    with pytest.raises(UserError, match=rf"^tune.workers = 9999: .*allowed: 1 to {cores}$"):
        worker_count(with_tune(settings, workers=9999))
