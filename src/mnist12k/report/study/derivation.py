"""derivation.md: the derivation, its checks, the learning rates and the errata, for GitHub."""

from collections.abc import Mapping

from mnist12k.backprop.hill import Hill, Sweep
from mnist12k.backprop.network import Array
from mnist12k.backprop.proof import Deviation
from mnist12k.backprop.settings import Backprop, SmallNetwork
from mnist12k.backprop.study import loss_curves
from mnist12k.report.markdown import table
from mnist12k.report.study.conclusions import conclusions
from mnist12k.report.study.errata import errata
from mnist12k.report.study.formulas import STEPS, DerivationStep, first_iteration
from mnist12k.report.study.notation import NAME, latex, latex_symbol, markdown_text

Deviations = Mapping[tuple[str, float], Deviation]  # by network and learning rate
LONGEST_LINE = 80  # characters of a formula; those of step 6 have over 100


def write_derivation(
    study: Backprop, losses: Array, deviations: Deviations, swept: Sweep, hill: Hill
) -> str:
    """Return the page as Markdown; figures and files that it links are in its folder.

    `losses` has shape (iterations + 1, rates).
    """
    name, network = study.studied()
    rate, iterations = study.worksheet_learning_rate, study.iterations
    numbers = first_iteration(network, rate)
    loss_after = loss_curves(network, [rate], 1)[1, 0]
    steps = "\n".join(
        f"## Step {number}: {step.title}\n\n{markdown_text(step.text)}\n\n"
        f"{_math_block(step, network, numbers)}"
        for number, step in enumerate(STEPS, start=1)
    )
    check = table(
        ["network", "learning rate", "autograd", "central differences", "loss", "loss, relative"],
        [
            [f"`{name}`", f"{rate:g}", *(f"{value:.1e}" for value in deviation)]
            for (name, rate), deviation in deviations.items()
        ],
    )
    curves = table(
        ["learning rate", *(f"{rate:g}" for rate in study.learning_rates)],
        [["loss", *(f"{loss:.6g}" for loss in losses[-1])]],
    )
    errors = ""
    for erratum in errata(study):
        errors += f"\n### {erratum.title}\n\n{markdown_text(erratum.text)}\n"
        if erratum.rows:
            rows = [list(map(markdown_text, row)) for row in erratum.rows]
            errors += f"\n{table(erratum.head, rows)}"
    return f"""# Backpropagation by hand: the network `{name}`

One iteration of gradient descent on a network with two inputs, two hidden and two output units, at
learning rate {rate:g}. Each formula is followed by its numbers and its value. Everything
is computed in float64; numbers within a formula are shown with 6 digits, values with 10. All
iterations are in [steps.csv](steps.csv), and with live formulas in [backprop.xlsx](backprop.xlsx).

![The network with its weights and gradients before the first update](network.png)

{steps}
With these weights, iteration 1 has a loss of {loss_after:.10g}; iteration 0 had
{numbers["E_total"]:.10g}.

## Is it right?

The largest deviations over iterations 0 to {iterations}. The gradients are compared with torch's
autograd in float64 and with central differences, whose own error is near 1e-11, at the weights of
every iteration. The loss curve is compared with one computed with 50 decimal digits.

{check}
## Learning rates

![Loss by learning rate](loss_by_learning_rate.png)

After {iterations} updates:

{curves}
## The hill of learning rates

![The hill](hill.png)

{conclusions(losses[0, 0], swept, hill, iterations)}

## Errata
{errors}"""


def _math_block(step: DerivationStep, network: SmallNetwork, numbers: Mapping[str, float]) -> str:
    lines = step.lines(network)
    block = [_line(name, formula, numbers) for name, formula in lines]
    if step.chain_rule:
        name, product = lines[-1]
        block.insert(0, f"{latex_symbol(name)} &= {latex(product)}")
    body = " \\\\[6pt]\n".join(block)
    return f"```math\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n```\n"


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
