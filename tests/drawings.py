"""Digits as strokes, as people draw them on a pad: 30 ways to write, each under 11 conditions."""

from collections.abc import Iterator
from math import cos, pi, sin
from typing import NamedTuple

import numpy as np
from drawn_digits import STROKES, Point

Strokes = list[list[Point]]
PAD = 280  # units of the pad's side


def _ellipse(
    x: float, y: float, across: float, down: float, start: float, end: float
) -> list[Point]:
    """Return points from one angle to another, in degrees, clockwise from the right."""
    angles = np.linspace(start, end, 24) * pi / 180
    return [(x + across * cos(angle), y + down * sin(angle)) for angle in angles]


# Two more hands for each digit; the first is that of drawn_digits. A box 1 high and 0.6 wide.
OTHER_HANDS: list[tuple[Strokes, Strokes]] = [
    ([_ellipse(0.3, 0.5, 0.2, 0.5, -60, 300)], [_ellipse(0.3, 0.5, 0.3, 0.4, -90, 265)]),
    # A European 1: with an upstroke half as high as the digit; and an American one.
    ([[(0.05, 0.45), (0.4, 0.0), (0.4, 1.0)]], [[(0.32, 0.0), (0.28, 1.0)]]),
    (
        [[*_ellipse(0.3, 0.25, 0.25, 0.25, -180, 40), (0.1, 0.9), (0.2, 0.82), (0.6, 0.98)]],
        [[*_ellipse(0.3, 0.22, 0.27, 0.22, -190, 20), (0.02, 1.0), (0.6, 1.0)]],
    ),
    (
        [[(0.05, 0.0), (0.55, 0.0), (0.25, 0.4), *_ellipse(0.28, 0.68, 0.28, 0.3, -80, 150)]],
        [[*_ellipse(0.27, 0.25, 0.2, 0.25, -160, 80), *_ellipse(0.27, 0.75, 0.25, 0.25, -80, 160)]],
    ),
    (
        [[(0.05, 0.0), (0.03, 0.5), (0.55, 0.5)], [(0.5, 0.0), (0.48, 1.0)]],
        [[(0.4, 1.0), (0.42, 0.0), (0.02, 0.65), (0.6, 0.65)]],
    ),
    (
        [[(0.55, 0.0), (0.1, 0.0), (0.08, 0.4), *_ellipse(0.27, 0.68, 0.27, 0.3, -110, 140)]],
        [[(0.5, 0.02), (0.15, 0.05), (0.1, 0.5), *_ellipse(0.25, 0.75, 0.25, 0.25, -90, 120)]],
    ),
    (
        [[(0.35, 0.0), (0.1, 0.45), *_ellipse(0.3, 0.72, 0.24, 0.28, -180, 170)]],
        [[*_ellipse(0.6, 0.6, 0.55, 0.6, -100, -185), *_ellipse(0.28, 0.75, 0.22, 0.24, 170, 520)]],
    ),
    (
        [[(0.05, 0.0), (0.55, 0.0), (0.2, 1.0)], [(0.15, 0.5), (0.5, 0.5)]],  # with a bar
        [[(0.0, 0.12), (0.05, 0.0), (0.6, 0.02), (0.3, 0.5), (0.25, 1.0)]],
    ),
    (
        [
            [
                *((0.55, 0.1), *_ellipse(0.3, 0.25, 0.24, 0.25, -30, -240), (0.4, 0.55)),
                *(*_ellipse(0.3, 0.75, 0.26, 0.25, -50, 220), (0.3, 0.5), (0.55, 0.1)),
            ]
        ],
        [_ellipse(0.3, 0.25, 0.22, 0.25, 90, 450), _ellipse(0.3, 0.75, 0.28, 0.25, -90, 270)],
    ),
    (
        [[*_ellipse(0.3, 0.27, 0.25, 0.27, 0, -360), (0.55, 0.27), (0.55, 1.0)]],
        [[*_ellipse(0.3, 0.27, 0.25, 0.25, -20, -350), *_ellipse(0.2, 0.6, 0.35, 0.4, -40, 110)]],
    ),
]


class Condition(NamedTuple):
    """How a digit is drawn: its height as a fraction of the pad, its place, slant, width, hand."""

    height: float = 0.7
    x: float = 0.5  # of its middle, as fractions of the pad
    y: float = 0.5
    slant: float = 0.0
    squeeze: float = 1.0
    wobble: float = 0.0  # of the hand, per point, as a fraction of the height
    spacing: float = 0.03  # between points, as a fraction of the height: a fast hand has few


CONDITIONS = {
    "plain": Condition(),
    "small": Condition(height=0.2),
    "tiny": Condition(height=0.12, x=0.2, y=0.2),
    "large": Condition(height=0.92),
    "half": Condition(height=0.45, x=0.7, y=0.6),
    "slanted right": Condition(slant=0.25),
    "slanted left": Condition(slant=-0.15),
    "narrow": Condition(squeeze=0.75),
    "wide": Condition(squeeze=1.25),
    "unsteady": Condition(wobble=0.01),
    "fast": Condition(spacing=0.15),
}
EUROPEAN_ONE = (1, 1)  # digit, hand


class Drawing(NamedTuple):
    """Strokes on the pad: lists of points (x, y)."""

    digit: int
    hand: int
    condition: str
    strokes: Strokes


def drawings() -> Iterator[Drawing]:
    """Yield every digit by every hand under every condition: 330, always the same."""
    for digit in range(10):
        for hand, strokes in enumerate((STROKES[digit], *OTHER_HANDS[digit])):
            for number, (name, condition) in enumerate(CONDITIONS.items()):
                random = np.random.default_rng([digit, hand, number])
                drawn = [_drawn(stroke, condition, random) for stroke in strokes]
                yield Drawing(digit, hand, name, drawn)


def _drawn(stroke: list[Point], condition: Condition, random: np.random.Generator) -> list[Point]:
    corners = np.array(stroke)
    lengths = np.hypot(*np.diff(corners, axis=0).T)
    along = np.concatenate([[0.0], lengths.cumsum()])
    count = max(2, round(along[-1] / condition.spacing))
    places = np.union1d(np.linspace(0, along[-1], count), along[[0, -1]])
    if condition.spacing < 0.1:
        places = np.union1d(places, along)  # a slow hand does not cut corners
    x, y = (np.interp(places, along, corners[:, axis]) for axis in (0, 1))
    wobble = (
        random.normal(0, condition.wobble, (2, len(x))) if condition.wobble else np.zeros((2, 1))
    )
    x, y = (x - 0.3 + wobble[0]) * condition.squeeze, y - 0.5 + wobble[1]
    height = condition.height * PAD
    x = condition.x * PAD + height * (x - condition.slant * y)
    y = condition.y * PAD + height * y
    return list(zip(x.tolist(), y.tolist(), strict=True))
