"""A search space as params.yaml has it: for each parameter a range, a list, or cases.

learning_rate: {low: 0.05, high: 1, log: true}     a range
batch_size: [64, 128]                              a list to choose from
dropout: [{low: 0, high: 0.2}, ...]                a range for each element of a list
schedule:                                          cases, each with what is searched only there
linear: {}
cosine: {final: {low: 0, high: 0.1}}
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Scalar = float | int | str | bool


class Range(NamedTuple):
    """Every number from `low` to `high`, both included; by its logarithm if `log`."""

    low: float
    high: float
    log: bool = False


class Choices(NamedTuple):
    """One of `values`."""

    values: tuple[Scalar, ...]


class Each(NamedTuple):
    """A list, each of whose elements has a range of its own."""

    ranges: tuple[Range, ...]


class Cases(NamedTuple):
    """One of the keys of `spaces`, and with it the parameters that are searched only then."""

    spaces: Mapping[str, "Space"]


Dimension = Range | Choices | Each | Cases
Space = Mapping[str, Dimension]


def parse_space(content: object) -> Space:
    """Turn a mapping out of params.yaml into a space.

    Raises ValueError, one line that names the parameter, for anything that is not one.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{content!r} is no mapping of parameters to what they may be")
    return {str(name): _parse(f"{name}", given) for name, given in content.items()}


def _parse(name: str, given: object) -> Dimension:
    match given:
        case [Mapping(), *_]:
            return Each(tuple(_parse_range(f"{name}.{i}", each) for i, each in enumerate(given)))
        case [_, *_] if all(isinstance(value, Scalar) for value in given):
            if len(set(given)) < len(given):
                raise ValueError(f"{name} = {given} names a value twice")
            return Choices(tuple(given))  # type: ignore[arg-type]
        case []:
            raise ValueError(f"{name} = [] leaves nothing to choose from")
        case Mapping() if {"low", "high", "log"} & set(given):
            return _parse_range(name, given)
        case Mapping() if given:
            spaces = {}
            for case, inner in given.items():
                try:
                    spaces[str(case)] = parse_space(inner)
                except ValueError as error:
                    raise ValueError(f"{name}.{case}: {error}") from error
            return Cases(spaces)
    raise ValueError(f"{name} = {given!r}: allowed: {{low: ..., high: ...}}, a list, or cases")


def _parse_range(name: str, given: object) -> Range:
    if not isinstance(given, Mapping) or not {"low", "high"} <= set(given) <= {
        "low",
        "high",
        "log",
    }:
        raise ValueError(
            f"{name} = {given!r}: a range is {{low: ..., high: ..., log: true or false}}"
        )
    low, high, log = given["low"], given["high"], given.get("log", False)
    for end in (low, high):
        if isinstance(end, bool) or not isinstance(end, int | float) or not abs(end) < 1e100:
            raise ValueError(f"{name}: {end!r} is no finite number")
    if not isinstance(log, bool):
        raise ValueError(f"{name}.log = {log!r}: allowed: true, false")
    if low >= high:
        raise ValueError(f"{name}: low {low:g} is not below high {high:g}")
    if log and low <= 0:
        raise ValueError(
            f"{name}: a range by its logarithm cannot reach {low:g}; low must be above 0"
        )
    return Range(low, high, log)


def corners(space: Space) -> Iterator[dict[str, Any]]:
    """Yield points of the space in which every end and every choice occurs at least once."""
    options = {name: list(_extremes(name, dimension)) for name, dimension in space.items()}
    first: dict[str, Any] = {}
    for points in options.values():
        first |= points[0]
    for points in options.values():
        for point in points:
            yield first | point


def _extremes(name: str, dimension: Dimension) -> Iterator[dict[str, Any]]:
    match dimension:
        case Range(low, high):
            yield from ({name: low}, {name: high})
        case Choices(values):
            yield from ({name: value} for value in values)
        case Each(ranges):
            yield {name: [each.low for each in ranges]}
            yield {name: [each.high for each in ranges]}
        case Cases(spaces):
            for case, inner in spaces.items():
                for point in list(corners(inner)) or [{}]:
                    yield {name: case} | point
