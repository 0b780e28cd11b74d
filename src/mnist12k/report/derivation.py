"""The derivation as a page for GitHub: each line in symbols, then with this network's numbers."""

import re
from collections.abc import Callable, Iterable, Mapping

from mnist12k.backprop.formulas import FORMULAS, GRADIENTS, WEIGHTS, named
from mnist12k.backprop.network import Forward, Network
from mnist12k.backprop.study import loss_curves, trajectory

NAME = re.compile(r"[A-Za-zη]\w*")
LONGEST_LINE = 80  # characters of a formula; step 6's are over 100
GREEK = {"sigmoid": "\\sigma", "η": "\\eta"}
CHAIN = {  # what the derivation names on the way to the gradients
    "dE1_da_o1": "a_o1 - t1",
    "da_o1_do1": "a_o1 * (1 - a_o1)",
    "do1_dw5": "a_h1",
    "dE1_da_h1": "(a_o1 - t1) * a_o1 * (1 - a_o1) * w5",
    "dE2_da_h1": "(a_o2 - t2) * a_o2 * (1 - a_o2) * w7",
    "dE_da_h1": "dE1_da_h1 + dE2_da_h1",
    "dE1_da_h2": "(a_o1 - t1) * a_o1 * (1 - a_o1) * w6",
    "dE2_da_h2": "(a_o2 - t2) * a_o2 * (1 - a_o2) * w8",
    "dE_da_h2": "dE1_da_h2 + dE2_da_h2",
    "da_h1_dh1": "a_h1 * (1 - a_h1)",
    "dh1_dw1": "i1",
}


def derivation(name: str, network: Network, learning_rate: float) -> str:
    """Return the seven steps of one iteration, in Markdown with LaTeX that GitHub renders."""
    numbers = _numbers(network, learning_rate)
    formulas = FORMULAS | CHAIN
    for bias, value in zip(("b1", "b2"), network.biases, strict=True):
        if not value:
            formulas = {key: text.replace(f" + {bias}", "") for key, text in formulas.items()}

    def lines(*names: str) -> str:
        return _block(_line(name, formulas[name], numbers) for name in names)

    def chain(name: str, *factors: str) -> str:
        """One gradient as the product of its chain's links, each of them worked out first."""
        product = " * ".join(factors)
        worked_out = [_line(factor, formulas[factor], numbers) for factor in factors]
        in_symbols = f"{_symbol(name)} &= {_latex(product, _symbol)}"
        return _block([in_symbols, *worked_out, _line(name, product, numbers)])

    return f"""# Backpropagation by hand: the network `{name}`

One iteration of gradient descent on a network of two inputs, two hidden and two output units, at
learning rate {learning_rate:g}. Each line stands there in symbols, then with the numbers put in:
rounded to 6 digits where they are put in, to 10 where they come out, computed with all 16. Every
iteration is in [steps.csv](steps.csv), and with live formulas in
[backprop.xlsx](backprop.xlsx).

![The network, its weights and gradients before the first update](network.png)

## Step 1: forward pass

Each unit sums what its weights bring it and squashes the sum by the sigmoid
$`\\sigma(x) = 1 / (1 + e^{{-x}})`$; the loss is half the squared distance from the targets.

{lines(*Forward._fields)}
## Step 2: from the loss back to one weight of the output layer

$`w_5`$ reaches the loss by $`o_1`$ alone, so the chain rule has three links.

{chain("dE_dw5", "dE1_da_o1", "da_o1_do1", "do1_dw5")}
## Step 3: all weights of the output layer

The same three links for each of the four.

{lines(*GRADIENTS[4:])}
## Step 4: the hidden activations

Each of them reaches the loss by both outputs, so two errors add up.

{lines("dE1_da_h1", "dE2_da_h1", "dE_da_h1", "dE1_da_h2", "dE2_da_h2", "dE_da_h2")}
## Step 5: from there back to one weight of the hidden layer

{chain("dE_dw1", "dE_da_h1", "da_h1_dh1", "dh1_dw1")}
## Step 6: all weights of the hidden layer

Steps 4 and 5 in one line each. $`w_3`$ and $`w_4`$ belong to the second hidden unit, so it is
$`a_{{h2}} (1 - a_{{h2}})`$ that they carry.

{lines(*GRADIENTS[:4])}
## Step 7: update

All eight weights move at once, against gradients taken at the old ones.

{lines(*(f"new_{w}" for w in WEIGHTS))}
With these weights iteration 1 begins at step 1, and its loss is
{loss_curves(network, [learning_rate], 1)[1, 0]:.10g}; it was {numbers["E_total"]:.10g}.
"""


def _numbers(network: Network, learning_rate: float) -> dict[str, float]:
    """Return everything that the derivation names, at iteration 0 or, as new_w1, at 1."""
    before, after = trajectory(network, learning_rate, 1)
    n = named(network, before) | {"η": learning_rate}
    n |= dict(zip(("b1", "b2"), network.biases, strict=True))
    n |= {f"new_{w}": float(after.weights[k]) for k, w in enumerate(WEIGHTS)}
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


def _line(name: str, formula: str, numbers: Mapping[str, float]) -> str:
    """One quantity: its formula, the same with numbers, its value."""
    value = _number(numbers[name], 10).strip("()")
    in_symbols = f"{_symbol(name)} &= {_latex(formula, _symbol)}"
    if NAME.fullmatch(formula):
        return f"{in_symbols} = {value}"
    put_in = _latex(
        formula, lambda word: _number(numbers[word], 6) if word in numbers else _symbol(word)
    )
    and_so = " \\\\\n&" if len(formula) > LONGEST_LINE else " "
    return f"{in_symbols} \\\\\n&= {put_in}{and_so}= {value}"


def _latex(formula: str, word: Callable[[str], str]) -> str:
    latex = NAME.sub(lambda found: word(found[0]), formula).replace("*", "\\cdot")
    if len(formula) > LONGEST_LINE:
        latex = latex.replace(" + ", " \\\\\n&\\qquad {} + ")
    return latex


def _number(value: float, digits: int) -> str:
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    text = f"{mantissa} \\times 10^{{{int(exponent)}}}" if exponent else mantissa
    return f"({text})" if value < 0 or exponent else text


def _symbol(name: str) -> str:
    """h1 is h_1, a_h1 is a_{h1}, dE_dw1 is a fraction of partial derivatives."""
    if name in GREEK:
        return GREEK[name]
    if slope := re.fullmatch(r"d(.+?)_d(.+)", name):
        above = "E_total" if slope[1] == "E" else slope[1]
        return f"\\frac{{\\partial {_symbol(above)}}}{{\\partial {_symbol(slope[2])}}}"
    if name.startswith("new_"):
        return f"{_symbol(name.removeprefix('new_'))}^{{\\mathrm{{new}}}}"
    letter, index = name[0], name[1:].removeprefix("_")
    return f"{letter}_{{{index}}}" if len(index) > 1 else f"{letter}_{index}"


def _block(lines: Iterable[str]) -> str:
    body = " \\\\[6pt]\n".join(lines)
    return f"```math\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n```\n"
