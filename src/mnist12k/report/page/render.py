"""Render the template: one HTML file with styles, scripts, figures and weights inside."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

SCRIPTS = ("chart.js", "backprop.js", "network.js", "view.js", "draw.js", "digits.js")


def render(content: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Return the page; the template reads `content`, its scripts `data`."""
    loader = PackageLoader("mnist12k.report.page", "files")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "short": short, "words": words}

    def source(name: str) -> Markup:
        return Markup(loader.get_source(environment, name)[0])  # noqa: S704  # a packaged file

    return environment.get_template("page.html.j2").render(
        **content,
        style=source("page.css"),
        scripts={name: source(name) for name in SCRIPTS},
        data=htmlsafe_json_dumps(data, allow_nan=False, separators=(",", ":")),
    )


def columns(table: pd.DataFrame) -> Mapping[Any, list[Any]]:
    """Return a table's columns for JSON; empty cells and infinities are None."""
    finite = table.replace([np.inf, -np.inf], np.nan).astype(object)
    return finite.where(finite.notna(), None).to_dict("list")


def percent(fraction: float, digits: int = 2) -> str:
    """Return 0.9963 as 99.63 %, with a space that does not break."""
    return f"{fraction * 100:.{digits}f}\N{NO-BREAK SPACE}%"


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
