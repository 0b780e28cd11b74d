"""The page that shows it all: one HTML file with styles, scripts, figures and weights inside."""

import json
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

SCRIPTS = ("chart.js", "backprop.js", "network.js", "draw.js", "digits.js")


def render(shown: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Return the page: `shown` is what the template writes, `data` what its scripts read."""
    environment = Environment(
        loader=PackageLoader("mnist12k.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "short": short, "words": words}
    loader = environment.loader
    assert loader is not None

    def source(name: str) -> Markup:
        return Markup(loader.get_source(environment, name)[0])  # noqa: S704  # our own file

    return environment.get_template("page.html.j2").render(
        **shown,
        style=source("page.css"),
        scripts=[source(name) for name in SCRIPTS],
        data=Markup(json_in_html(data)),  # noqa: S704  # json_in_html has escaped it
    )


def json_in_html(content: Mapping[str, Any]) -> str:
    """Return JSON that no HTML parser takes for the end of its script element, or a comment."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("</", "<\\/").replace("<!--", "<\\u0021--")


def percent(share: float, digits: int = 2) -> str:
    """Return 0.9963 as 99.63 %, its sign not to be parted from it."""
    return f"{share * 100:.{digits}f}\N{NO-BREAK SPACE}%"


def words(name: str) -> str:
    """Return ours.seconds_per_epoch as "ours, seconds per epoch"."""
    return name.replace("_", " ").replace(".", ", ")


def short(value: object) -> str:
    """Return a value as a table shows it: a float by five digits, thousands parted."""
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
