"""How PyTorch's threads wait, and how many there are."""

import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import torch
import workspace

from mnist12k import SPIN_COUNT, threads
from mnist12k.cnn.device import MOST_THREADS, device_name, use_threads
from mnist12k.threads import idle_teams, seconds_waited, sharing_cores, teams_needed

VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="PyTorch has libgomp on Linux only")


def spin_count(program: str, **variables: str) -> str:
    """Return how long libgomp says that a thread spins, in a process that runs this program."""
    inherited = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=inherited | {"OMP_DISPLAY_ENV": "VERBOSE"} | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.findall(r"GOMP_SPINCOUNT = '(\w+)'", done.stderr)
    assert len(set(found)) == 1, done.stderr
    return str(found[0])


@ON_LINUX
@pytest.mark.parametrize(
    "program",
    [
        "import mnist12k.cnn.fit",
        "import mnist12k.search.worker",
        "import subprocess, sys, mnist12k; "
        "subprocess.run([sys.executable, '-c', 'import torch'], check=True)",
    ],
    ids=["training", "worker of a search", "a process that it starts"],
)
def test_a_thread_that_waits_soon_sleeps(program: str) -> None:
    assert spin_count(program) == str(SPIN_COUNT)


@ON_LINUX
def test_the_users_own_variables_win() -> None:
    assert spin_count("import mnist12k, torch", GOMP_SPINCOUNT="7") == "7"
    assert spin_count("import mnist12k, torch", OMP_WAIT_POLICY="PASSIVE") == "0"


@pytest.fixture
def many_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with 16 cores, as PyTorch sees it, and no variable of the user's."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with workspace.threads(16):
        yield


@pytest.mark.usefixtures("many_threads")
def test_auto_is_one_thread_per_core_and_at_most_four() -> None:
    use_threads("auto")
    assert torch.get_num_threads() == MOST_THREADS == 4
    torch.set_num_threads(3)
    use_threads("auto")
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("many_threads")
def test_a_number_is_used_as_it_is_and_is_part_of_the_devices_name() -> None:
    use_threads(6)
    assert device_name(torch.device("cpu")) == "cpu (6 threads)"
    use_threads(1)
    assert device_name(torch.device("cpu")) == "cpu (1 thread)"


@pytest.mark.usefixtures("many_threads")
def test_the_users_number_of_threads_wins_over_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    use_threads("auto")
    assert torch.get_num_threads() == 16


@pytest.fixture
def two_threads() -> Iterator[None]:
    with workspace.threads(2):
        yield


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


@ON_LINUX
@pytest.mark.usefixtures("two_threads")
def test_idle_teams_are_there_while_threads_wait_for_a_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks, per_look = itertools.count(), 1.0
    monkeypatch.setattr(threads, "seconds_waited", lambda: per_look * next(looks))
    monkeypatch.setattr(threads, "INTERVAL", 0.01)
    monkeypatch.setattr(threads, "core_count", lambda: 4)
    with sharing_cores():
        assert eventually(lambda: idle_teams() == 3)
        monkeypatch.setattr(threads, "seconds_waited", lambda: 0)
        assert eventually(lambda: idle_teams() == 0)
        monkeypatch.setattr(threads, "seconds_waited", lambda: per_look * next(looks))
        assert eventually(lambda: idle_teams() == 3)
    assert idle_teams() == 0


@ON_LINUX
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("failing", ["torch.zeros", "mnist12k.threads._idle_team"])
def test_without_memory_or_threads_for_an_idle_team_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    tried = []

    def fail(*_: object) -> None:
        tried.append(True)
        raise RuntimeError("can't start new thread")

    looks = itertools.count()
    monkeypatch.setattr(threads, "seconds_waited", lambda: next(looks))
    monkeypatch.setattr(threads, "INTERVAL", 0.01)
    monkeypatch.setattr(failing, fail)
    with sharing_cores():
        assert eventually(lambda: bool(tried))
    assert idle_teams() == 0


@ON_LINUX
@pytest.mark.usefixtures("two_threads")
def test_other_processes_make_threads_wait_for_a_core() -> None:
    count = 3 * (os.cpu_count() or 1)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        before, started = seconds_waited(), time.monotonic()
        while time.monotonic() < started + 2:
            torch.zeros(1 << 20).add_(1)
        after = seconds_waited()
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert before is not None
    assert after is not None
    assert (after - before) / 2 > threads.BUSY


@ON_LINUX
def test_a_thread_sleeps_sooner_beside_an_idle_team() -> None:
    program = """if True:
        import contextlib, resource, time, torch
        from mnist12k import threads

        def sleeps():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
            for _ in range(300):
                torch.zeros(1 << 17).add_(1)
                end = time.perf_counter() + 0.0005  # serial work, for which the others wait
                while time.perf_counter() < end:
                    pass
            return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before

        torch.set_num_threads(2)
        sleeps()
        alone = sleeps()
        with contextlib.ExitStack() as teams:
            for _ in range(threads.teams_needed(2, threads.core_count())):
                teams.enter_context(threads._idle_team())
            beside = sleeps()
        print(alone, beside)
    """
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"GOMP_SPINCOUNT": "3000000", "OMP_WAIT_POLICY": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    alone, beside = map(int, done.stdout.split())
    assert alone < 150 <= 250 < beside


@pytest.mark.usefixtures("one_thread")
def test_one_thread_waits_for_no_other() -> None:
    with sharing_cores():
        assert idle_teams() == 0


@pytest.mark.parametrize(("threads_of_a_team", "cores"), [(2, 2), (4, 4), (2, 7), (4, 64), (8, 4)])
def test_with_its_idle_teams_the_process_has_more_threads_than_cores(
    threads_of_a_team: int, cores: int
) -> None:
    needed = teams_needed(threads_of_a_team, cores)
    counted = threads_of_a_team + needed * (threads_of_a_team - 1)
    assert counted > cores
    assert counted - (threads_of_a_team - 1) <= max(cores, threads_of_a_team)
