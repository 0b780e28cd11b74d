"""The seven steps of one iteration of gradient descent, as data."""

from typing import NamedTuple

from mnist12k.backprop.network import Forward
from mnist12k.backprop.settings import SmallNetwork
from mnist12k.report.study.formulas import FORMULAS, GRADIENTS, UPDATED


class DerivationStep(NamedTuple):
    """One step: `names` are its lines' quantities, keys of FORMULAS.

    With `chain_rule` the last of them is shown as the product of the others. Formulas in `text`
    are in backticks, see `notation`.
    """

    title: str
    text: str
    names: tuple[str, ...]
    chain_rule: bool = False

    def lines(self, network: SmallNetwork) -> list[tuple[str, str]]:
        """Return each line's name and formula, without the network's biases that are 0."""
        formulas = {name: FORMULAS[name] for name in self.names}
        if self.chain_rule:
            formulas[self.names[-1]] = " * ".join(self.names[:-1])
        zero = [name for name, bias in zip(("b1", "b2"), network.biases, strict=True) if not bias]
        for bias in zero:
            formulas = {name: text.replace(f" + {bias}", "") for name, text in formulas.items()}
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
