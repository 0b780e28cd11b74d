r"""Formulas as text, and two renderers for them: LaTeX for GitHub's Markdown, and HTML.

A formula consists of names, numbers, brackets and + - * / ^ =. A name is a letter and its index:
`w5` is w with the index 5, `a_h1` is a with the index h1, `dE_dw5` is ∂E_total/∂w5, `new_w5` is
the weight after an update, `sigmoid` is σ. In running text formulas stand in backticks.
"""

import re
from collections.abc import Callable

from markupsafe import Markup, escape

NAME = re.compile(r"[A-Za-zη]\w*")
_PARTS = re.compile(r"([A-Za-zη]\w*|\^-?\w+)")
_DERIVATIVE = re.compile(r"d(.+?)_d(.+)")
# The E of dE_dw1 is E_total, whose index is left out of all names.
_LATEX = {"sigmoid": r"\sigma", "η": r"\eta", "E": "E_{total}"}
_HTML = {
    "sigmoid": Markup("σ"),
    "η": Markup("η"),
    "E": Markup("<var>E</var><sub>total</sub>"),
}


def latex_symbol(name: str) -> str:
    """Return a name as LaTeX."""
    if name in _LATEX:
        return _LATEX[name]
    if derivative := _DERIVATIVE.fullmatch(name):
        above, below = map(latex_symbol, derivative.groups())
        return rf"\frac{{\partial {above}}}{{\partial {below}}}"
    if name.startswith("new_"):
        return rf"{latex_symbol(name.removeprefix('new_'))}^{{\mathrm{{new}}}}"
    letter, index = name[0], name[1:].removeprefix("_")
    if not index:
        return letter
    return f"{letter}_{{{index}}}" if len(index) > 1 else f"{letter}_{index}"


def html_symbol(name: str) -> Markup:
    """Return a name as HTML; a screen reader hears a fraction as "∂E by ∂w"."""
    if name in _HTML:
        return _HTML[name]
    if derivative := _DERIVATIVE.fullmatch(name):
        return Markup(
            '<span class="fraction"><span>∂{}</span><span class="visually-hidden"> by </span>'
            "<span>∂{}</span></span>"
        ).format(*map(html_symbol, derivative.groups()))
    if name.startswith("new_"):
        return Markup("{}<sup>new</sup>").format(html_symbol(name.removeprefix("new_")))
    letter, index = name[0], name[1:].removeprefix("_")
    symbol = Markup("<var>{}</var>").format(letter)
    return symbol + Markup("<sub>{}</sub>").format(index) if index else symbol


def latex(formula: str, write_name: Callable[[str], str] = latex_symbol) -> str:
    """Return a formula as LaTeX; `write_name` replaces its names, by default by symbols."""

    def write(part: str) -> str:
        if part.startswith("^"):
            return f"^{{{part[1:]}}}" if len(part) > 2 else part
        return write_name(part) if NAME.fullmatch(part) else part.replace("*", r"\cdot")

    return "".join(map(write, _PARTS.split(formula)))


def html(formula: str, write_name: Callable[[str], Markup] = html_symbol) -> Markup:
    """Return a formula as HTML; `write_name` replaces its names, by default by symbols."""

    def write(part: str) -> Markup:
        if part.startswith("^"):
            return Markup("<sup>{}</sup>").format(part[1:].replace("-", "−"))
        if NAME.fullmatch(part):
            return write_name(part)
        return escape(part.replace("*", "·").replace("-", "−"))

    return Markup("").join(map(write, _PARTS.split(formula)))


def markdown_text(text: str) -> str:
    """Return text as Markdown, its formulas as inline LaTeX."""
    return re.sub("`(.+?)`", lambda match: f"$`{latex(match[1])}`$", text)


def html_text(text: str) -> Markup:
    """Return text as HTML, with its formulas."""
    parts = enumerate(text.split("`"))
    return Markup("").join(html(part) if number % 2 else escape(part) for number, part in parts)
