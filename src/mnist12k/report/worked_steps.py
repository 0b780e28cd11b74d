"""The seven steps of one iteration as HTML, with a place for every number that a script fills."""

import re
from collections.abc import Callable
from typing import NamedTuple

from markupsafe import Markup

from mnist12k.backprop.formulas import FORMULAS, GRADIENTS, WEIGHTS
from mnist12k.backprop.network import Forward, Network
from mnist12k.report.derivation import CHAIN, NAME


class Line(NamedTuple):
    """One quantity: its symbol, its formula in symbols and, if it has any, with numbers."""

    name: str
    symbol: Markup
    formula: Markup
    put_in: Markup | None


class WorkedStep(NamedTuple):
    """One step of the derivation."""

    title: str
    text: str
    lines: list[Line]


STEPS = (
    (
        "Forward pass",
        "Each unit sums what its weights bring it and squashes the sum by the sigmoid "
        "σ(x) = 1 / (1 + e⁻ˣ); the loss is half the squared distance from the targets.",
        Forward._fields,
    ),
    (
        "From the loss back to one weight of the output layer",
        "w5 reaches the loss by o1 alone, so the chain rule has three links.",
        ("dE1_da_o1", "da_o1_do1", "do1_dw5", "dE_dw5"),
    ),
    (
        "All weights of the output layer",
        "The same three links for each of the four.",
        GRADIENTS[4:],
    ),
    (
        "The hidden activations",
        "Each of them reaches the loss by both outputs, so two errors add up.",
        ("dE1_da_h1", "dE2_da_h1", "dE_da_h1", "dE1_da_h2", "dE2_da_h2", "dE_da_h2"),
    ),
    (
        "From there back to one weight of the hidden layer",
        "Once more three links.",
        ("dE_da_h1", "da_h1_dh1", "dh1_dw1", "dE_dw1"),
    ),
    (
        "All weights of the hidden layer",
        "Steps 4 and 5 in one line each. w3 and w4 belong to the second hidden unit, so it is "
        "its slope that they carry.",
        GRADIENTS[:4],
    ),
    (
        "Update",
        "All eight weights move at once, against gradients taken at the old ones.",
        tuple(f"new_{w}" for w in WEIGHTS),
    ),
)
AS_CHAINS = {
    2: {"dE_dw5": "dE1_da_o1 * da_o1_do1 * do1_dw5"},
    5: {"dE_dw1": "dE_da_h1 * da_h1_dh1 * dh1_dw1"},
}


def worked_steps(network: Network) -> list[WorkedStep]:
    """Return the seven steps; a bias that is 0 is left out."""
    formulas = FORMULAS | CHAIN
    for bias, value in zip(("b1", "b2"), network.biases, strict=True):
        if not value:
            formulas = {name: text.replace(f" + {bias}", "") for name, text in formulas.items()}
    return [
        WorkedStep(
            title,
            text,
            [_line(name, (formulas | AS_CHAINS.get(number, {}))[name]) for name in names],
        )
        for number, (title, text, names) in enumerate(STEPS, start=1)
    ]


def symbol(name: str) -> Markup:
    """h1 is h with a subscript, dE_dw1 a fraction of partial derivatives."""
    if slope := re.fullmatch(r"d(.+?)_d(.+)", name):
        above = symbol("E_total" if slope[1] == "E" else slope[1])
        return Markup(
            '<span class="fraction"><span>∂{}</span><span class="apart"> by </span>'
            "<span>∂{}</span></span>"
        ).format(above, symbol(slope[2]))
    if name.startswith("new_"):
        return Markup("{}<sup>new</sup>").format(symbol(name.removeprefix("new_")))
    if name in ("sigmoid", "η"):
        return Markup.escape("σ" if name == "sigmoid" else "η")
    return Markup("<var>{}</var><sub>{}</sub>").format(name[0], name[1:].removeprefix("_"))


def _line(name: str, formula: str) -> Line:
    put_in = None if NAME.fullmatch(formula) else _html(formula, _number)
    return Line(name, symbol(name), _html(formula, symbol), put_in)


def _number(name: str) -> Markup:
    if name == "sigmoid":
        return symbol(name)
    return Markup('<span data-number="{}"></span>').format(name)


def _html(formula: str, word: Callable[[str], Markup]) -> Markup:
    # The formulas are FORMULAS' and CHAIN's: names, digits, brackets and these operators.
    text = NAME.sub(lambda found: str(word(found[0])), formula.replace("*", "·"))
    return Markup(text.replace(" - ", " − ").replace("^2", "<sup>2</sup>"))  # noqa: S704
