import pytest

from mnist12k.backprop.settings import SmallNetwork
from mnist12k.params import Params
from mnist12k.report.page.backprop import lines
from mnist12k.report.study.errata import errata
from mnist12k.report.study.formulas import FORMULAS, STEPS, first_iteration
from mnist12k.report.study.notation import html, html_text, latex, markdown_text


def network(bias: float = 0) -> SmallNetwork:
    return SmallNetwork(
        inputs=(0.05, 0.1), targets=(0.5, 0.5), weights=(0.1,) * 8, biases=(bias, 0.0)
    )


def test_the_steps_have_a_line_for_every_formula() -> None:
    assert len(STEPS) == 7
    assert {name for step in STEPS for name, _ in step.lines(network())} == set(FORMULAS)


@pytest.mark.parametrize("bias", [0.0, 0.25])
def test_a_bias_is_shown_unless_it_is_0(bias: float) -> None:
    assert ("+ b1" in dict(STEPS[0].lines(network(bias)))["h1"]) == bool(bias)
    first, *_ = lines(STEPS[0], first_iteration(network(bias), 0.5))
    for shown in (first["formula"], first["with_numbers"]):
        assert ('data-bias="b1" hidden' in shown) == (not bias)
        assert 'data-bias="b1"' in shown


def test_a_chain_is_the_product_of_the_lines_before_it() -> None:
    assert STEPS[1].lines(network())[-1] == ("dE_dw5", "dE1_da_o1 * da_o1_do1 * do1_dw5")


@pytest.mark.parametrize(
    ("formula", "as_latex", "as_html"),
    [
        ("w5", "w_5", "<var>w</var><sub>5</sub>"),
        (
            "a_h2 * (1 - x)",
            r"a_{h2} \cdot (1 - x)",
            "<var>a</var><sub>h2</sub> · (1 − <var>x</var>)",
        ),
        ("sigmoid(x)^2", r"\sigma(x)^2", "σ(<var>x</var>)<sup>2</sup>"),
        ("e^-x", "e^{-x}", "<var>e</var><sup>−x</sup>"),
        ("new_w1 < 2", r"w_1^{\mathrm{new}} < 2", "<var>w</var><sub>1</sub><sup>new</sup> &lt; 2"),
    ],
)
def test_one_formula_is_written_as_latex_and_as_html(
    formula: str, as_latex: str, as_html: str
) -> None:
    assert latex(formula) == as_latex
    assert html(formula) == as_html


def test_formulas_in_text_are_in_backticks_and_all_else_is_escaped() -> None:
    text = "`dE_dw3` & more"
    slope = r"\frac{\partial E_{total}}{\partial w_3}"
    assert markdown_text(text) == f"$`{slope}`$ & more"
    assert html_text(text).endswith("</span> &amp; more")


def test_the_errata_name_every_known_error(params: Params) -> None:
    workbook, text, mazur = errata(params.backprop)
    assert [row[0] for row in workbook.rows[:2]] == [
        "`dE_dw3` in iteration 0",
        "`dE_dw4` in iteration 0",
    ]
    assert len(workbook.rows) == 2 + len(params.backprop.learning_rates)
    assert "`w_h2`" in text.text
    assert [row[1] for row in mazur.rows] == ["0.2910277737", "0.2910279239", "0.291027924"]
