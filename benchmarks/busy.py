"""One epoch of training on a machine that does something else as well.

    python benchmarks/busy.py        # writes benchmarks/busy.json; half an hour to an hour

as_shipped  the stage `train`: see src/mnist12k/threads.py and src/mnist12k/__init__.py
as_before   PyTorch as it is: its threads spin while they wait

Idle, and beside one, two and four processes that never rest. Each measurement is the first epoch of
`best` in a process of its own, on all cores. They take turns for two rounds; the mean counts.
Needs MNIST in data/mnist and an otherwise idle machine.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from common import (
    LIBGOMP_COUNT,
    command,
    fit_seconds,
    machine,
    measure_in_new_process,
    training,
    write_result,
)

from mnist12k import SPIN_COUNT
from mnist12k.threads import sharing_cores

METHODS = {"as_shipped": SPIN_COUNT, "as_before": LIBGOMP_COUNT}
BUSY_PROCESSES = (0, 1, 2, 4)
ROUNDS = 2


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Run so many processes that never rest."""
    loop = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(loop) for _ in range(count)]  # noqa: S603
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def epoch_seconds(method: str) -> float:
    """Train one epoch in this process."""
    with sharing_cores() if method == "as_shipped" else contextlib.nullcontext():
        (seconds,) = fit_seconds(training("best", epochs=1), torch.device("cpu"))
    return seconds


def main() -> None:
    """Measure one method in this process, or both and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=METHODS, help="only measure this, and print it")
    if method := parser.parse_args().method:
        print(json.dumps({"seconds": epoch_seconds(method)}))
        return

    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for others in BUSY_PROCESSES:
            for name, count in METHODS.items():
                with busy(others):
                    one = measure_in_new_process(__file__, "--method", name, spin_count=count)
                seconds.setdefault((name, others), []).append(one["seconds"])
                print(f"{name}, {others} busy processes: {one['seconds']:.1f} s", flush=True)
        write_result(Path(__file__).with_suffix(".json"), summary(seconds))


def summary(seconds: dict[tuple[str, int], list[float]]) -> dict[str, object]:
    """Return the result of the rounds so far."""
    means = {key: statistics.mean(values) for key, values in seconds.items()}
    return {
        "machine": machine(f"{torch.get_num_threads()} threads", f"PyTorch {torch.__version__}"),
        "command": command(__file__),
        "epochs": [
            {
                "method": name,
                "busy_processes": others,
                "seconds": round(mean, 1),
                "relative_to_idle": round(mean / means[name, 0], 2),
                "each": [round(value, 1) for value in seconds[name, others]],
            }
            for (name, others), mean in means.items()
        ],
        "idle_ratio": round(means["as_shipped", 0] / means["as_before", 0], 3),
    }


if __name__ == "__main__":
    main()
