"""A search space as params.yaml has it: for each parameter a range, a list, or cases.

learning_rate: {low: 0.05, high: 1, log: true}     a range
rotation: {low: 0, high: 12, step: 4}              every fourth number of a range
batch_size: [64, 128]                              a list to choose from; null: the recipe's
momentum: 0.9                                      a constant
dropout: [{low: 0, high: 0.2}, ...]                a range per element: dropout.0, dropout.1, ...
schedule:                                          cases, each with its parameters
linear: {}
cosine: {final_fraction: {low: 0, high: 0.1}}
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

Scalar = float | int | str | bool | None
MARKS = {"low", "high", "log"}  # of a range
RANGE_KEYS = MARKS | {"step"}  # which is also a schedule
Point = dict[str, Any]  # hyperparameters by name


class Range(NamedTuple):
    """Every number from `low` to `high`, both included; drawn by its logarithm if `log`.

    With a step, only `low`, `low + step`, and so on.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None


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
    space = _parse(content, prefix)
    _check_names(space, {})
    return space


def _parse(content: object, prefix: str) -> Space:
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
            case Mapping() if MARKS & set(dimension):
                space[str(name)] = _parse_range(where, dimension)
            case Mapping() if dimension:
                space[str(name)] = Cases(
                    {str(key): _parse(case, f"{where}.{key}: ") for key, case in dimension.items()}
                )
            case []:
                raise ValueError(f"{where} = [] is empty")
            case [*values] if all(isinstance(value, Scalar) for value in values):
                if len(set(values)) < len(values):
                    raise ValueError(f"{where} = {values} has a duplicate")
                space[str(name)] = Choices(tuple(values))
            case str() | bool() | int() | float():
                space[str(name)] = Choices((dimension,))
            case _:
                raise ValueError(
                    f"{where} = {dimension!r}: allowed: {{low: ..., high: ...}}, a list, "
                    "a constant, or cases"
                )
    return space


def _check_names(space: Space, outer: Mapping[str, Dimension]) -> None:
    """Raise ValueError if a name stands for two parameters, which a study cannot tell apart."""
    for name, dimension in space.items():
        if not isinstance(dimension, Cases):
            continue
        siblings: dict[str, Dimension] = {}
        for case, own in dimension.spaces.items():
            for inner, values in own.items():
                where = f"{name}.{case}: {inner}"
                if inner in outer or inner in space:
                    raise ValueError(f"{where} stands outside the case, too")
                if not _same_kind(values, siblings.setdefault(inner, values)):
                    raise ValueError(f"{where} is of another kind in another case of {name}")
            _check_names(own, {**outer, **space})


def _same_kind(one: Dimension, other: Dimension) -> bool:
    match one, other:
        case Range(), Range():
            return one.log == other.log
        case Choices(), Choices():
            return one == other
    return False


def _parse_range(name: str, content: object) -> Range:
    if not isinstance(content, Mapping) or not {"low", "high"} <= set(content) <= RANGE_KEYS:
        raise ValueError(
            f"{name} = {content!r}: a range is {{low: ..., high: ..., log: true or false}}, "
            "or {low: ..., high: ..., step: ...}"
        )
    low, high, log = content["low"], content["high"], content.get("log", False)
    step = content.get("step")
    for number in (low, high, *([] if step is None else [step])):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"{name}: {number!r} is not a finite number")
        if not abs(number) < 1e100:
            raise ValueError(f"{name}: {number!r} is not a finite number")
    if not isinstance(log, bool):
        raise ValueError(f"{name}.log = {log!r}: allowed: true, false")
    if low >= high:
        raise ValueError(f"{name}: low {low:g} is not below high {high:g}")
    if log and low <= 0:
        raise ValueError(f"{name}: with log: true low must be above 0, and is {low:g}")
    if step is not None:
        if log:
            raise ValueError(f"{name}: a step and log: true exclude each other")
        steps = (high - low) / step if step > 0 else 0
        if round(steps) < 1 or abs(steps - round(steps)) > 1e-9:
            raise ValueError(f"{name}: from low {low:g} no steps of {step:g} lead to high {high:g}")
    return Range(low, high, log, step)


def whole_steps(space: Space, is_integer: Callable[[str], bool]) -> None:
    """Raise ValueError if an integer's range has a step that is no whole number."""
    for name, dimension in space.items():
        match dimension:
            case Range(step=step) if step is not None and step % 1 and is_integer(name):
                raise ValueError(f"{name}: step {step:g} is not a whole number, and {name} is one")
            case Cases(spaces):
                for each in spaces.values():
                    whole_steps(each, is_integer)


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


def as_parameters(point: Point, space: Space, *, partial: bool = False) -> dict[str, Any]:
    """Return a point's values under the names of the space: the reverse of `with_lists`.

    Whatever else the point has is left out. Raises ValueError, one line, if a value is outside the
    space, or missing unless `partial`.
    """
    found: dict[str, Any] = {}
    for flat, dimension in space.items():
        name, dot, index = flat.partition(".")
        if name not in point:
            if partial:
                continue
            raise ValueError(f"{name} is missing")
        value = point[name]
        if dot and isinstance(value, list | tuple):
            if int(index) >= len(value):
                raise ValueError(f"{name} = {list(value)} has no value for {flat}")
            value = value[int(index)]
        _require_inside(flat, value, dimension)
        found[flat] = value
        if isinstance(dimension, Cases):
            found |= as_parameters(point, dimension.spaces[value], partial=partial)
    return found


def _require_inside(name: str, value: Any, dimension: Dimension) -> None:
    match dimension:
        case Range(low, high, _, step):
            number = not isinstance(value, bool) and isinstance(value, int | float)
            if not number or not low <= value <= high:
                raise ValueError(f"{name} = {value!r}: allowed: {low:g} to {high:g}")
            if step and abs((value - low) / step - round((value - low) / step)) > 1e-9:
                raise ValueError(f"{name} = {value!r}: allowed: {low:g} in steps of {step:g}")
        case Choices(values) if value not in values:
            raise ValueError(f"{name} = {value!r}: allowed: {', '.join(map(str, values))}")
        case Cases(spaces) if value not in spaces:
            raise ValueError(f"{name} = {value!r}: allowed: {', '.join(spaces)}")


def with_lists(flat: Mapping[str, Any]) -> Point:
    """Return a point as in params.yaml: dropout.0, dropout.1, ... become one list."""
    point: Point = {}
    for key, value in flat.items():
        name, dot, _ = key.partition(".")
        point[name] = [*point.get(name, []), value] if dot else value
    return point
