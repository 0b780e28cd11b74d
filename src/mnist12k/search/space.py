"""A search space as params.yaml has it: for each parameter a range, a list, or cases.

learning_rate: {low: 0.05, high: 1, log: true}     a range
batch_size: [64, 128]                              a list to choose from
dropout: [{low: 0, high: 0.2}, ...]                a range per element: dropout.0, dropout.1, ...
schedule:                                          cases, each with its parameters
linear: {}
cosine: {final_fraction: {low: 0, high: 0.1}}
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

Scalar = float | int | str | bool
RANGE_KEYS = {"low", "high", "log"}
Point = dict[str, Any]  # hyperparameters by name


class Range(NamedTuple):
    """Every number from `low` to `high`, both included; drawn by its logarithm if `log`."""

    low: float
    high: float
    log: bool = False


class Choices(NamedTuple):
    """One of `values`."""

    values: tuple[Scalar, ...]


class Cases(NamedTuple):
    """One of the keys of `spaces`, with the parameters that only it has."""

    spaces: Mapping[str, "Space"]


Dimension = Range | Choices | Cases
Space = Mapping[str, Dimension]


def parse_space(content: object, prefix: str = "") -> Space:
    """Turn a mapping from params.yaml into a space.

    Raises ValueError, one line: `prefix`, the name of the parameter, and what is wrong with it.
    """
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{prefix}{content!r} is not a mapping of parameters to ranges, lists or cases"
        )
    space: dict[str, Dimension] = {}
    for name, dimension in content.items():
        where = f"{prefix}{name}"
        match dimension:
            case [Mapping(), *_]:
                for i, each in enumerate(dimension):
                    space[f"{name}.{i}"] = _parse_range(f"{where}.{i}", each)
            case Mapping() if RANGE_KEYS & set(dimension):
                space[str(name)] = _parse_range(where, dimension)
            case Mapping() if dimension:
                space[str(name)] = Cases(
                    {
                        str(key): parse_space(case, f"{where}.{key}: ")
                        for key, case in dimension.items()
                    }
                )
            case []:
                raise ValueError(f"{where} = [] is empty")
            case [*values] if all(isinstance(value, Scalar) for value in values):
                if len(set(values)) < len(values):
                    raise ValueError(f"{where} = {values} has a duplicate")
                space[str(name)] = Choices(tuple(values))
            case _:
                raise ValueError(
                    f"{where} = {dimension!r}: allowed: {{low: ..., high: ...}}, a list, or cases"
                )
    return space


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


def corners(space: Space) -> Iterator[Point]:
    """Yield points of the space in which every end and every choice occurs at least once."""
    axes = [
        list(options(name, dimension, lambda each: (each.low, each.high), corners))
        for name, dimension in space.items()
    ]
    first = {name: value for axis in axes for name, value in axis[0].items()}
    for point in ({}, *chain(*axes)):
        yield with_lists(first | point)


def options(
    name: str,
    dimension: Dimension,
    numbers: Callable[[Range], Iterable[float]],
    points: Callable[[Space], Iterable[Point]],
) -> Iterator[Point]:
    """Yield a parameter's values: `numbers` of a range, all choices, or `points` of each case."""
    match dimension:
        case Range():
            yield from ({name: value} for value in numbers(dimension))
        case Choices(values):
            yield from ({name: value} for value in values)
        case Cases(spaces):
            for case, space in spaces.items():
                yield from ({name: case} | point for point in points(space))


def with_lists(flat: Mapping[str, Any]) -> Point:
    """Return a point as in params.yaml: dropout.0, dropout.1, ... become one list."""
    point: Point = {}
    for key, value in flat.items():
        name, dot, _ = key.partition(".")
        point[name] = [*point.get(name, []), value] if dot else value
    return point
