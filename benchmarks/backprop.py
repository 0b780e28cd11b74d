"""The learning-rate study against a plain Python loop: 1,000 rates x 1,000 updates.

    python benchmarks/backprop.py        # writes benchmarks/backprop.json

The loop uses no arrays, and calls no function but exp. Both run in one process and must end at the
same losses; the study's time is the median of five runs.
"""

import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import command, machine, write_result

from mnist12k.backprop.settings import SmallNetwork
from mnist12k.backprop.study import loss_curves

NETWORK = SmallNetwork(
    inputs=(0.05, 0.1),
    targets=(0.5, 0.5),
    weights=(0.15, 0.2, 0.25, 0.3, 0.4, 0.45, 0.5, 0.55),
    biases=(0.0, 0.0),
)
RATES = np.geomspace(0.01, 10, 1000).tolist()
UPDATES = 1000


def plain_loop(learning_rate: float) -> float:
    """Descend at one rate; return the last loss. exp cannot overflow at these rates."""
    i1, i2 = NETWORK.inputs
    t1, t2 = NETWORK.targets
    b1, b2 = NETWORK.biases
    w1, w2, w3, w4, w5, w6, w7, w8 = NETWORK.weights
    exp = math.exp
    loss = math.nan
    for _ in range(UPDATES + 1):
        a_h1 = 1 / (1 + exp(-(w1 * i1 + w2 * i2 + b1)))
        a_h2 = 1 / (1 + exp(-(w3 * i1 + w4 * i2 + b1)))
        a_o1 = 1 / (1 + exp(-(w5 * a_h1 + w6 * a_h2 + b2)))
        a_o2 = 1 / (1 + exp(-(w7 * a_h1 + w8 * a_h2 + b2)))
        loss = ((t1 - a_o1) ** 2 + (t2 - a_o2) ** 2) / 2
        d_o1 = (a_o1 - t1) * a_o1 * (1 - a_o1)
        d_o2 = (a_o2 - t2) * a_o2 * (1 - a_o2)
        d_h1 = (d_o1 * w5 + d_o2 * w7) * a_h1 * (1 - a_h1)
        d_h2 = (d_o1 * w6 + d_o2 * w8) * a_h2 * (1 - a_h2)
        w1 -= learning_rate * d_h1 * i1
        w2 -= learning_rate * d_h1 * i2
        w3 -= learning_rate * d_h2 * i1
        w4 -= learning_rate * d_h2 * i2
        w5 -= learning_rate * d_o1 * a_h1
        w6 -= learning_rate * d_o1 * a_h2
        w7 -= learning_rate * d_o2 * a_h1
        w8 -= learning_rate * d_o2 * a_h2
    return loss


def seconds(action: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    """Measure, compare the losses, and write the result."""
    ours = statistics.median(seconds(lambda: loss_curves(NETWORK, RATES, UPDATES)) for _ in "12345")
    ends: list[float] = []
    loop = seconds(lambda: ends.extend(map(plain_loop, RATES)))
    # A loss near 0 consists of rounding errors, which depend on the order of evaluation.
    np.testing.assert_allclose(ends, loss_curves(NETWORK, RATES, UPDATES)[-1], 1e-6, 1e-20)
    result = {
        "machine": machine(f"NumPy {np.__version__}"),
        "command": command(__file__),
        "workload": f"{len(RATES)} learning rates x {UPDATES} updates",
        "plain_loop": {"seconds": round(loop, 3)},
        "ours": {"seconds": round(ours, 4)},
        "ratio": round(loop / ours, 1),
    }
    write_result(Path(__file__).with_suffix(".json"), result)


if __name__ == "__main__":
    main()
