"""Render the template: one HTML file with styles, scripts, figures and weights inside."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

STYLES = (
    "base.css",
    "controls.css",
    "charts.css",
    "lab.css",
    "cnn.css",
    "lesson.css",
    "evaluation.css",
    "print.css",
)
# In the order in which they need each other.
LAB = (
    "numbers.js",
    "paint.js",
    "ticks.js",
    "chart.js",
    "descent.js",
    "state.js",
    "diagram.js",
    "hill.js",
    "surface.js",
    "lab.js",
    "walk.js",
)
NETWORK = ("network.js", "maps.js", "probe.js", "view.js", "occlusion.js", "epochs.js")
PAD = ("strokes.js", "pad.js", "small_network.js", "lesson.js")
IMAGES = ("digits.js", "training.js", "paper.js")


def render(content: Mapping[str, Any], data: Mapping[str, Any], *, pad: bool) -> str:
    """Return the page, with a drawing pad or not.

    The template reads `content`, its scripts `data`.
    """
    loader = PackageLoader("mnist12k.report.page", "files")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "brief": brief,
        "percent": percent,
        "short": short,
        "words": words,
        "times_as_long": times_as_long,
    }

    def source(name: str) -> Markup:
        return Markup(loader.get_source(environment, name)[0])  # noqa: S704  # a packaged file

    return environment.get_template("page.html.j2").render(
        **content,
        style=Markup("\n").join(map(source, STYLES)),
        scripts=list(map(source, (*LAB, *NETWORK, *(PAD if pad else ()), *IMAGES))),
        data=htmlsafe_json_dumps(data, allow_nan=False, separators=(",", ":")),
    )


def columns(table: pd.DataFrame) -> Mapping[Any, list[Any]]:
    """Return a table's columns for JSON; empty cells and infinities are None."""
    finite = table.replace([np.inf, -np.inf], np.nan).astype(object)
    return finite.where(finite.notna(), None).to_dict("list")


def percent(fraction: float, digits: int = 2) -> str:
    """Return 0.9963 as 99.63 %, with a space that does not break.

    With more digits, up to six, where it would otherwise round to 0 or 100 % without being that.
    """
    text = f"{fraction * 100:.{digits}f}"
    if 0 < fraction < 1 and float(text) in (0, 100) and digits < 6:
        return percent(fraction, digits + 1)
    return f"{text}\N{NO-BREAK SPACE}%"


def brief(value: float, digits: int = 4) -> str:
    """Return a number with so many significant digits, tiny ones with a power of ten.

    As the function of that name in numbers.js does.
    """
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0 or abs(rounded) >= 1e-4:
        text = f"{rounded:.0f}" if rounded.is_integer() else repr(rounded)
        return text.replace("-", "−")
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}·10{raised}".replace("-", "−")


def times_as_long(ratio: float) -> str:
    """Return how a benchmark's ratio, the old time by the new, is said."""
    if ratio < 1:
        return f"takes {short(round(1 / ratio, 2))} times as long"
    return f"{short(ratio)} times as fast"


def words(name: str) -> str:
    """Return ours.seconds_per_epoch as "ours, seconds per epoch"."""
    return name.replace("_", " ").replace(".", ", ")


def short(value: object) -> str:
    """Return a value for a table: floats with five digits, thousands separated."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.0f}" if abs(value) >= 100_000 else f"{value:.5g}"
        case list() | tuple():
            return ", ".join(map(short, value))
    return str(value)
