"""Tests of signals.py; tests/test_machine.py stops whole commands."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mnist12k.signals import Stopped, starting_workers, stoppable

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_arrives_while_a_worker_starts_stops_after_the_start(number: int) -> None:
    started = False

    def start() -> None:
        nonlocal started
        with stoppable():
            with starting_workers():
                os.kill(os.getpid(), number)
                time.sleep(0.1)
                started = True
            time.sleep(60)

    with pytest.raises(Stopped) as stopped:
        start()
    assert started
    assert stopped.value.number == number


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signals")
def test_a_worker_that_starts_is_ended_by_sigterm_and_by_nothing_else() -> None:
    with stoppable(), starting_workers():
        process = subprocess.Popen(SLEEP)
    try:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.terminate()
        assert process.wait(10) == -signal.SIGTERM
    finally:
        process.kill()


def test_workers_start_from_any_thread() -> None:
    names = []

    def start() -> None:
        with starting_workers():
            names.append(threading.current_thread().name)

    thread = threading.Thread(target=start, name="another")
    thread.start()
    thread.join()
    assert names == ["another"]
