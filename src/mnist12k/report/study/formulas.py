"""Every quantity's formula as text, used for the workbook's cells and the derivation's lines.

The names are those of `backprop.network` and of steps.csv; new_w1 is w1 after the update.
"""

from mnist12k.backprop.settings import SmallNetwork
from mnist12k.backprop.study import STEP_COLUMNS, Step, trajectory

WEIGHTS = tuple(f"w{k}" for k in range(1, 9))
GRADIENTS = tuple(f"dE_d{w}" for w in WEIGHTS)
UPDATED = tuple(f"new_{w}" for w in WEIGHTS)

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
    # Factors and terms that the derivation has on the way to the gradients.
    "dE1_da_o1": "a_o1 - t1",
    "da_o1_do1": "a_o1 * (1 - a_o1)",
    "do1_dw5": "a_h1",
    "dE1_da_h1": f"{_DE_DO1} * w5",
    "dE2_da_h1": f"{_DE_DO2} * w7",
    "dE_da_h1": "dE1_da_h1 + dE2_da_h1",
    "dE1_da_h2": f"{_DE_DO1} * w6",
    "dE2_da_h2": f"{_DE_DO2} * w8",
    "dE_da_h2": "dE1_da_h2 + dE2_da_h2",
    "da_h1_dh1": "a_h1 * (1 - a_h1)",
    "dh1_dw1": "i1",
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


def named(network: SmallNetwork, step: Step) -> dict[str, float]:
    """Return the numbers of one step by STEP_COLUMNS; its weights have shape (8,)."""
    numbers = (*network.targets, *network.inputs, *step.weights, *step.passed, *step.gradients)
    return dict(zip(STEP_COLUMNS, map(float, numbers), strict=True))


def first_iteration(network: SmallNetwork, learning_rate: float) -> dict[str, float]:
    """Return every number of iteration 0 by name: all of FORMULAS, and what they depend on."""
    before, after = trajectory(network, learning_rate, 1)
    n = named(network, before) | {"η": learning_rate}
    n |= dict(zip(("b1", "b2"), network.biases, strict=True))
    n |= dict(zip(UPDATED, map(float, after.weights), strict=True))
    n["dE1_da_o1"] = n["a_o1"] - n["t1"]
    n["da_o1_do1"] = n["a_o1"] * (1 - n["a_o1"])
    n["do1_dw5"] = n["a_h1"]
    dE_do1 = n["dE1_da_o1"] * n["da_o1_do1"]
    dE_do2 = (n["a_o2"] - n["t2"]) * n["a_o2"] * (1 - n["a_o2"])
    for hidden, to_o1, to_o2 in (("a_h1", "w5", "w7"), ("a_h2", "w6", "w8")):
        n[f"dE1_d{hidden}"] = dE_do1 * n[to_o1]
        n[f"dE2_d{hidden}"] = dE_do2 * n[to_o2]
        n[f"dE_d{hidden}"] = n[f"dE1_d{hidden}"] + n[f"dE2_d{hidden}"]
    n["da_h1_dh1"] = n["a_h1"] * (1 - n["a_h1"])
    n["dh1_dw1"] = n["i1"]
    return n
