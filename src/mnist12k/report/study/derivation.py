"""derivation.md: the derivation, its checks, the learning rates and the errata, for GitHub."""

from collections.abc import Iterable, Mapping

from mnist12k.backprop.hill import Hill, Sweep
from mnist12k.backprop.network import Array
from mnist12k.backprop.proof import Deviation
from mnist12k.backprop.settings import Backprop, SmallNetwork
from mnist12k.backprop.study import loss_curves
from mnist12k.report.markdown import table
from mnist12k.report.study.conclusions import conclusions
from mnist12k.report.study.errata import Erratum, errata
from mnist12k.report.study.formulas import first_iteration
from mnist12k.report.study.notation import NAME, latex, latex_symbol, markdown_text
from mnist12k.report.study.steps import STEPS, DerivationStep

LONGEST_LINE = 80  # characters of a formula; those of step 6 have over 100


def write_derivation(
    study: Backprop,
    losses: Array,
    deviations: Mapping[tuple[str, float], Deviation],
    swept: Sweep,
    hill: Hill,
) -> str:
    """Return the page as Markdown; figures and files that it links are in its folder.

    `losses` has shape (iterations + 1, rates); `deviations` is by network and learning rate.
    """
    name, network = study.studied()
    sections = [
        _derivation(name, network, study.worksheet_learning_rate),
        _gradient_check(deviations, study.iterations),
        _learning_rates(study, losses),
        f"## The hill of learning rates\n\n![The hill](hill.png)\n\n"
        f"{conclusions(losses[0, 0], swept, hill, study.iterations)}\n",
        "\n".join(["## Errata\n", *map(_erratum, errata(study))]),
    ]
    return "\n".join(sections)


def _derivation(name: str, network: SmallNetwork, learning_rate: float) -> str:
    numbers = first_iteration(network, learning_rate)
    loss_after = loss_curves(network, [learning_rate], 1)[1, 0]
    steps = "\n".join(
        f"## Step {number}: {step.title}\n\n{markdown_text(step.text)}\n\n"
        f"{_block(_lines(step, network, numbers))}"
        for number, step in enumerate(STEPS, start=1)
    )
    return f"""# Backpropagation by hand: the network `{name}`

One iteration of gradient descent on a network with two inputs, two hidden and two output units, at
learning rate {learning_rate:g}. Each formula is followed by its numbers and its value. Everything
is computed in float64; numbers within a formula are shown with 6 digits, values with 10. All
iterations are in [steps.csv](steps.csv), and with live formulas in [backprop.xlsx](backprop.xlsx).

![The network with its weights and gradients before the first update](network.png)

{steps}
With these weights, iteration 1 has a loss of {loss_after:.10g}; iteration 0 had
{numbers["E_total"]:.10g}.
"""


def _lines(
    step: DerivationStep, network: SmallNetwork, numbers: Mapping[str, float]
) -> Iterable[str]:
    lines = step.lines(network)
    if step.chain_rule:
        name, product = lines[-1]
        yield f"{latex_symbol(name)} &= {latex(product)}"
    for name, formula in lines:
        yield _line(name, formula, numbers)


def _line(name: str, formula: str, numbers: Mapping[str, float]) -> str:
    """Return a quantity's formula, the same with numbers unless it is one name, and its value."""
    value = _number(numbers[name], 10).strip("()")
    symbols = f"{latex_symbol(name)} &= {_wrapped(formula, latex(formula))}"
    if NAME.fullmatch(formula):
        return f"{symbols} = {value}"
    with_numbers = latex(
        formula, lambda word: _number(numbers[word], 6) if word in numbers else latex_symbol(word)
    )
    line_break = " \\\\\n&" if len(formula) > LONGEST_LINE else " "
    return f"{symbols} \\\\\n&= {_wrapped(formula, with_numbers)}{line_break}= {value}"


def _wrapped(formula: str, text: str) -> str:
    return text.replace(" + ", " \\\\\n&\\qquad {} + ") if len(formula) > LONGEST_LINE else text


def _number(value: float, digits: int) -> str:
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    text = f"{mantissa} \\times 10^{{{int(exponent)}}}" if exponent else mantissa
    return f"({text})" if value < 0 or exponent else text


def _block(lines: Iterable[str]) -> str:
    body = " \\\\[6pt]\n".join(lines)
    return f"```math\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n```\n"


def _gradient_check(deviations: Mapping[tuple[str, float], Deviation], iterations: int) -> str:
    rows = [
        [f"`{name}`", f"{rate:g}", *(f"{value:.1e}" for value in deviation)]
        for (name, rate), deviation in deviations.items()
    ]
    head = ["network", "learning rate", "autograd", "central differences", "loss", "loss, relative"]
    return f"""## Is it right?

The largest deviations over iterations 0 to {iterations}. The gradients are compared with torch's
autograd in float64 and with central differences, whose own error is near 1e-11, at the weights of
every iteration. The loss curve is compared with one computed with 50 decimal digits.

{table(head, rows)}"""


def _learning_rates(study: Backprop, losses: Array) -> str:
    head = ["learning rate", *(f"{rate:g}" for rate in study.learning_rates)]
    return f"""## Learning rates

![Loss by learning rate](loss_by_learning_rate.png)

After {study.iterations} updates:

{table(head, [["loss", *(f"{loss:.6g}" for loss in losses[-1])]])}"""


def _erratum(erratum: Erratum) -> str:
    section = f"### {erratum.title}\n\n{markdown_text(erratum.text)}\n"
    if not erratum.rows:
        return section
    rows = [list(map(markdown_text, row)) for row in erratum.rows]
    return f"{section}\n{table(erratum.head, rows)}"
