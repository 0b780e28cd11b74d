"""A search space as params.yaml has it: for each parameter a range, a list, or cases.

learning_rate: {low: 0.05, high: 1, log: true}     a range
batch_size: [64, 128]                              a list to choose from
dropout: [{low: 0, high: 0.2}, ...]                a range per element of a list
schedule:                                          cases, each with parameters of its own
linear: {}
cosine: {final_fraction: {low: 0, high: 0.1}}
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Scalar = float | int | str | bool
RANGE_KEYS = {"low", "high", "log"}


class Range(NamedTuple):
    """Every number from `low` to `high`, both included; drawn by its logarithm if `log`."""

    low: float
    high: float
    log: bool = False


class Choices(NamedTuple):
    """One of `values`."""

    values: tuple[Scalar, ...]


class Each(NamedTuple):
    """A list with a range per element."""

    ranges: tuple[Range, ...]


class Cases(NamedTuple):
    """One of the keys of `spaces`, with the parameters that only it has."""

    spaces: Mapping[str, "Space"]


Dimension = Range | Choices | Each | Cases
Space = Mapping[str, Dimension]


def parse_space(content: object) -> Space:
    """Turn a mapping from params.yaml into a space.

    Raises ValueError, one line that names the parameter, if it is not a space.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{content!r} is not a mapping of parameters to ranges, lists or cases")
    return {str(name): _parse(str(name), dimension) for name, dimension in content.items()}


def _parse(name: str, content: object) -> Dimension:
    match content:
        case [Mapping(), *_]:
            return Each(tuple(_parse_range(f"{name}.{i}", each) for i, each in enumerate(content)))
        case [_, *_] if all(isinstance(value, Scalar) for value in content):
            if len(set(content)) < len(content):
                raise ValueError(f"{name} = {content} has a duplicate")
            return Choices(tuple(content))  # type: ignore[arg-type]
        case []:
            raise ValueError(f"{name} = [] is empty")
        case Mapping() if RANGE_KEYS & set(content):
            return _parse_range(name, content)
        case Mapping() if content:
            spaces = {}
            for case, space in content.items():
                try:
                    spaces[str(case)] = parse_space(space)
                except ValueError as error:
                    raise ValueError(f"{name}.{case}: {error}") from error
            return Cases(spaces)
    raise ValueError(f"{name} = {content!r}: allowed: {{low: ..., high: ...}}, a list, or cases")


def _parse_range(name: str, content: object) -> Range:
    if not isinstance(content, Mapping) or not {"low", "high"} <= set(content) <= RANGE_KEYS:
        raise ValueError(
            f"{name} = {content!r}: a range is {{low: ..., high: ..., log: true or false}}"
        )
    low, high, log = content["low"], content["high"], content.get("log", False)
    for end in (low, high):
        if isinstance(end, bool) or not isinstance(end, int | float) or not abs(end) < 1e100:
            raise ValueError(f"{name}: {end!r} is not a finite number")
    if not isinstance(log, bool):
        raise ValueError(f"{name}.log = {log!r}: allowed: true, false")
    if low >= high:
        raise ValueError(f"{name}: low {low:g} is not below high {high:g}")
    if log and low <= 0:
        raise ValueError(f"{name}: with log: true low must be above 0, and is {low:g}")
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
            for case, space in spaces.items():
                for point in list(corners(space)) or [{}]:
                    yield {name: case} | point
