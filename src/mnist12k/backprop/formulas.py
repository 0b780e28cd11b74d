"""Each quantity's formula as text, said once for the workbook's cells and the derivation's lines.

The names are those of `network` and of steps.csv; the tests hold each formula against `network`.
"""

from mnist12k.backprop.network import Network
from mnist12k.backprop.study import STEP_COLUMNS, Step

WEIGHTS = tuple(f"w{k}" for k in range(1, 9))
GRADIENTS = tuple(f"dE_d{w}" for w in WEIGHTS)

_DE_DO1 = "(a_o1 - t1) * a_o1 * (1 - a_o1)"
_DE_DO2 = "(a_o2 - t2) * a_o2 * (1 - a_o2)"
FORMULAS = {
    "h1": "w1 * i1 + w2 * i2 + b1",
    "a_h1": "sigmoid(h1)",
    "h2": "w3 * i1 + w4 * i2 + b1",
    "a_h2": "sigmoid(h2)",
    "o1": "w5 * a_h1 + w6 * a_h2 + b2",
    "a_o1": "sigmoid(o1)",
    "o2": "w7 * a_h1 + w8 * a_h2 + b2",
    "a_o2": "sigmoid(o2)",
    "E1": "(t1 - a_o1)^2 / 2",
    "E2": "(t2 - a_o2)^2 / 2",
    "E_total": "E1 + E2",
    "dE_dw1": f"({_DE_DO1} * w5 + {_DE_DO2} * w7) * a_h1 * (1 - a_h1) * i1",
    "dE_dw2": f"({_DE_DO1} * w5 + {_DE_DO2} * w7) * a_h1 * (1 - a_h1) * i2",
    "dE_dw3": f"({_DE_DO1} * w6 + {_DE_DO2} * w8) * a_h2 * (1 - a_h2) * i1",
    "dE_dw4": f"({_DE_DO1} * w6 + {_DE_DO2} * w8) * a_h2 * (1 - a_h2) * i2",
    "dE_dw5": f"{_DE_DO1} * a_h1",
    "dE_dw6": f"{_DE_DO1} * a_h2",
    "dE_dw7": f"{_DE_DO2} * a_h1",
    "dE_dw8": f"{_DE_DO2} * a_h2",
    **{f"new_{w}": f"{w} - η * dE_d{w}" for w in WEIGHTS},
}


def named(network: Network, step: Step) -> dict[str, float]:
    """Return a step's numbers by name; the step is one network's, its weights of shape (8,)."""
    numbers = (*network.targets, *network.inputs, *step.weights, *step.passed, *step.gradients)
    return dict(zip(STEP_COLUMNS, map(float, numbers), strict=True))
