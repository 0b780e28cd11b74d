"""Both sides of a running study: `mnist12k tune` or `seeds`, and every `mnist12k tune-worker`."""

import time
from collections import defaultdict
from collections.abc import Callable

import optuna
from optuna.storages import BaseStorage, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from mnist12k.digits.dataset import load_training_digits
from mnist12k.errors import UserError, without_passwords
from mnist12k.paths import DATA, store_root
from mnist12k.search.coordinator import is_coordinated
from mnist12k.search.pools import ProcessPool, RayPool, Work
from mnist12k.search.queue import PROCESS, finished, queued, requeue_dead
from mnist12k.search.settings import SearchSettings
from mnist12k.search.storage import JOURNAL, open_storage
from mnist12k.search.study import FINISHED, storage_errors
from mnist12k.search.worker import work
from mnist12k.signals import print_line

POLL = 0.5  # seconds
HELPER_POLL = 2  # seconds: there may be hundreds of them
WAIT = 600  # seconds for a search to be started
ALONE = 30  # seconds without a coordinator and without queued trials


def run_workers(
    settings: SearchSettings, study: optuna.Study, on_change: Callable[[], None], work: Work = work
) -> None:
    """Keep workers running until no trial of the study is queued or running.

    Dead workers are replaced. `on_change` is called twice a second, and at the end.
    Raises UserError if workers keep dying, or if the cluster cannot be reached.
    """
    open_pool = RayPool if settings.tune.engine == "ray" else ProcessPool
    pool: RayPool | ProcessPool = open_pool(settings, work)
    first_seen: dict[int, float] = {}
    try:
        while True:
            requeue_dead(study, first_seen)
            fail_stale_trials(study)
            states = {trial.state for trial in study.get_trials(deepcopy=False)}
            on_change()
            running = pool.count_running()
            if not running and not queued(study) and TrialState.RUNNING not in states:
                return
            for _ in range(min(pool.size - running, len(queued(study)))):
                pool.start(study.study_name)
            time.sleep(POLL)
    finally:
        pool.close()


def help_study(
    settings: SearchSettings,
    name: str,
    result_line: Callable[[FrozenTrial], str],
    work: Work = work,
    command: str = "tune",
) -> None:
    """Run trials of the study of this name, which another process coordinates, until it ends.

    Prints the result line of each trial that ran here. Raises UserError if there is no such study,
    or as `run_workers` does.
    """
    load_training_digits(DATA, settings.train.architecture)  # damaged data is one error
    storage = wait_for_study(settings, name, command)
    studies: dict[str, optuna.Study] = {}
    first_seen: dict[str, dict[int, float]] = defaultdict(dict)
    printed: set[tuple[str, int]] = set()
    pool = ProcessPool(settings, work)
    last_active: float | None = None
    try:
        while True:
            for each in optuna.get_all_study_names(storage):
                if each.startswith(name) and each not in studies:  # the search, its finalists
                    studies[each] = optuna.load_study(study_name=each, storage=storage)
            has_ended = bool(studies[name].user_attrs.get(FINISHED))
            running = pool.count_running()
            for study in studies.values():
                requeue_dead(study, first_seen[study.study_name])
                for _ in range(0 if has_ended else min(pool.size - running, len(queued(study)))):
                    pool.start(study.study_name)
                    running += 1
                for trial in finished(study):
                    key = (study.study_name, trial.number)
                    if key not in printed and pool.has_run(trial.user_attrs.get(PROCESS, "")):
                        printed.add(key)
                        print_line(result_line(trial))
            if has_ended:
                print_line(f"{name} has ended; {len(printed)} trials ran here")
                return
            if last_active is None:
                processes = "1 process" if pool.size == 1 else f"{pool.size} processes"
                print_line(f"{name}: helping with {processes}")
            if last_active is None or running or is_coordinated(settings.tune.storage, name):
                last_active = time.monotonic()
            elif time.monotonic() - last_active > ALONE:
                print_line(
                    f"{name}: the queue is empty, and no `mnist12k {command}` runs it; "
                    f"{len(printed)} trials ran here"
                )
                return
            time.sleep(HELPER_POLL)
    finally:
        pool.close()


def wait_for_study(settings: SearchSettings, name: str, command: str) -> BaseStorage:
    """Return the storage of the study of this name, once it exists.

    Raises UserError if it does not within `WAIT` seconds, or at once if it would be in a journal.
    """
    address = settings.tune.storage
    journal = store_root() / JOURNAL
    missing = UserError(
        f"{journal} has no {name}: start `mnist12k {command}` here, or for workers on other "
        "machines set tune.storage to a PostgreSQL server's address"
    )
    if address == "journal" and not journal.exists():
        raise missing
    with storage_errors(settings):
        storage = open_storage(address)
        started, says = time.monotonic(), True
        while name not in optuna.get_all_study_names(storage):
            if address == "journal":
                raise missing
            if says:
                print_line(
                    f"{name}: waiting for `mnist12k {command}` with the same params.yaml, code, "
                    "data and kind of device"
                )
                says = False
            if time.monotonic() - started > WAIT:
                raise UserError(
                    f"tune.storage = {without_passwords(address)!r}: no {name} was started "
                    f"within {WAIT / 60:.3g} minutes; `mnist12k {command}` starts it"
                )
            time.sleep(HELPER_POLL)
        return storage
