"""Every quantity's formula as text, and the seven steps of the derivation that they make up.

The names are those of `backprop.network` and of steps.csv; new_w1 is w1 after the update.
"""

from typing import NamedTuple

from mnist12k.backprop.network import Forward
from mnist12k.backprop.settings import SmallNetwork
from mnist12k.backprop.study import STEP_COLUMNS, steps

Numbers = dict[str, float]

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


def named_steps(network: SmallNetwork, learning_rate: float, iterations: int) -> list[Numbers]:
    """Return the numbers of iterations 0 to `iterations`, each by STEP_COLUMNS."""
    table = steps(network, learning_rate, iterations).tolist()
    return [dict(zip(STEP_COLUMNS, numbers, strict=True)) for numbers in table]


def first_iteration(network: SmallNetwork, learning_rate: float) -> Numbers:
    """Return every number of iteration 0 by name: all of FORMULAS, and what they depend on."""
    n, after = named_steps(network, learning_rate, 1)
    n |= {f"new_{w}": after[w] for w in WEIGHTS}
    n["b1"], n["b2"] = network.biases
    n["η"] = learning_rate
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


class DerivationStep(NamedTuple):
    """One step of one iteration; `names` are its lines' quantities, keys of FORMULAS.

    With `chain_rule` the last of them is shown as the product of the others. Formulas in `text`
    are in backticks, see `notation`.
    """

    title: str
    text: str
    names: tuple[str, ...]
    chain_rule: bool = False

    def formulas(self) -> dict[str, str]:
        """Return each line's formula by its name."""
        formulas = {name: FORMULAS[name] for name in self.names}
        if self.chain_rule:
            formulas[self.names[-1]] = " * ".join(self.names[:-1])
        return formulas

    def lines(self, network: SmallNetwork) -> list[tuple[str, str]]:
        """Return each line's name and formula, without the network's biases that are 0."""
        formulas = self.formulas()
        for name, bias in zip(("b1", "b2"), network.biases, strict=True):
            if not bias:
                formulas = {key: text.replace(f" + {name}", "") for key, text in formulas.items()}
        return list(formulas.items())


STEPS = (
    DerivationStep(
        "Forward pass",
        "Each unit adds up its weighted inputs and its bias, if it has one, and applies the "
        "sigmoid `sigmoid(x) = 1 / (1 + e^-x)`. The loss is half the squared distance between "
        "outputs and targets.",
        Forward._fields,
    ),
    DerivationStep(
        "The gradient of one output-layer weight",
        "`w5` affects the loss only through `o1`, so the chain rule has three factors.",
        ("dE1_da_o1", "da_o1_do1", "do1_dw5", "dE_dw5"),
        chain_rule=True,
    ),
    DerivationStep(
        "All output-layer weights",
        "The same three factors for each of the four weights.",
        GRADIENTS[4:],
    ),
    DerivationStep(
        "The hidden activations",
        "Each hidden activation affects the loss through both outputs, so its gradient is the sum "
        "of two terms.",
        ("dE1_da_h1", "dE2_da_h1", "dE_da_h1", "dE1_da_h2", "dE2_da_h2", "dE_da_h2"),
    ),
    DerivationStep(
        "The gradient of one hidden-layer weight",
        "Again the chain rule has three factors.",
        ("dE_da_h1", "da_h1_dh1", "dh1_dw1", "dE_dw1"),
        chain_rule=True,
    ),
    DerivationStep(
        "All hidden-layer weights",
        "Steps 4 and 5 in one formula per weight. `w3` and `w4` belong to the second hidden unit, "
        "so their factor is `a_h2 * (1 - a_h2)`.",
        GRADIENTS[:4],
    ),
    DerivationStep(
        "Update",
        "All eight weights are updated at once, with gradients computed at the old weights.",
        UPDATED,
    ),
)
