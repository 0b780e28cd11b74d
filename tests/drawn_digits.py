"""Digits that are not from MNIST: set in print, or drawn as a hand might, and photographed."""

from collections.abc import Callable
from math import cos, pi, sin
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

FONTS = ["DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "STIXGeneral", "cmr10", "cmss10"]
Point = tuple[float, float]


def _arc(centre: Point, radii: Point, start: float, end: float) -> list[Point]:
    """Points of an ellipse from one angle to another, in degrees, clockwise from the right."""
    angles = np.linspace(start, end, 24) * pi / 180
    return [(centre[0] + radii[0] * cos(a), centre[1] + radii[1] * sin(a)) for a in angles]


# In a box that is 1 high and 0.6 wide, y downwards.
STROKES: list[list[list[Point]]] = [
    [_arc((0.3, 0.5), (0.28, 0.48), -90, 275)],
    [[(0.15, 0.2), (0.33, 0.02), (0.3, 0.98)]],
    [[*_arc((0.3, 0.27), (0.25, 0.25), -170, 30), (0.05, 0.96), (0.58, 0.94)]],
    [[*_arc((0.28, 0.26), (0.24, 0.24), -150, 85), *_arc((0.28, 0.74), (0.28, 0.24), -85, 150)]],
    [[(0.35, 0.02), (0.03, 0.62), (0.58, 0.6)], [(0.42, 0.35), (0.4, 0.98)]],
    [
        [(0.12, 0.05), (0.1, 0.45), *_arc((0.26, 0.69), (0.28, 0.27), -120, 140)],
        [(0.12, 0.05), (0.52, 0.03)],
    ],
    [[(0.45, 0.02), *_arc((0.3, 0.7), (0.25, 0.27), -160, 200)]],
    [[(0.03, 0.06), (0.57, 0.04), (0.22, 0.98)]],
    [[*_arc((0.3, 0.26), (0.2, 0.23), 90, -270), *_arc((0.3, 0.73), (0.27, 0.24), -90, 270)]],
    [[*_arc((0.28, 0.3), (0.24, 0.27), 0, -350), (0.5, 0.35), (0.42, 0.98)]],
]


def printed(digit: int, font: str, side: int = 200) -> np.ndarray:
    """Ink of shape (side, side) in [0, 1]."""
    path = Path(mpl.get_data_path()) / "fonts/ttf" / f"{font}.ttf"
    image = Image.new("L", (side, side))
    style = ImageFont.truetype(str(path), round(0.7 * side))
    middle = (side / 2, side / 2)
    ImageDraw.Draw(image).text(middle, str(digit), fill=255, font=style, anchor="mm")
    return np.asarray(image, dtype=np.float32) / 255


def drawn(digit: int, width: float, random: np.random.Generator, side: int = 200) -> np.ndarray:
    """Ink of shape (side, side) in [0, 1]; the pen is `width` of the side, the hand not steady."""
    image = Image.new("L", (side, side))
    draw = ImageDraw.Draw(image)
    slant, squeeze = random.uniform(-0.15, 0.15), random.uniform(0.85, 1.1)
    for stroke in STROKES[digit]:
        wobble = np.cumsum(random.normal(0, 0.002, (len(stroke), 2)), axis=0)
        points = [
            (
                side * (0.5 + 0.65 * (squeeze * (x - 0.3) + slant * (0.5 - y) + dx)),
                side * (0.5 + 0.65 * (y - 0.5 + dy)),
            )
            for (x, y), (dx, dy) in zip(stroke, wobble, strict=True)
        ]
        draw.line(points, fill=255, width=max(1, round(width * side)), joint="curve")
        radius = width * side / 2
        for x, y in (points[0], points[-1]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(image, dtype=np.float32) / 255


def turned(ink: np.ndarray, degrees: float) -> np.ndarray:
    image = Image.fromarray(ink).rotate(degrees, Image.Resampling.BILINEAR)
    return np.asarray(image)


def photographed(
    ink: np.ndarray,
    random: np.random.Generator,
    *,
    light_ink: bool = False,
    contrast: float = 0.7,
    noise: float = 0.03,
    fall_off: float = 0.4,
) -> Image.Image:
    """A grey picture of the ink under light that falls off to one side, with a sensor's noise."""
    height, width = ink.shape
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    angle = random.uniform(0, 2 * pi)
    light = 1 - fall_off * (0.5 + (x - 0.5) * cos(angle) / 1.4 + (y - 0.5) * sin(angle) / 1.4)
    paper = 0.1 + contrast * ink if light_ink else 0.9 - contrast * ink
    values = paper * light + random.normal(0, noise, ink.shape)
    return Image.fromarray(np.rint(255 * values.clip(0, 1)).astype(np.uint8))


def in_pieces(ink: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The pen has left gaps, and was nearly dry at others."""
    gaps = np.ones_like(ink)
    rows = random.choice(np.arange(70, 130, 12), 3, replace=False)
    for row, strength in zip(rows, (0, 0, 0.3), strict=True):
        gaps[row : row + 4] = strength
    picture: np.ndarray = 0.9 - 0.7 * ink * gaps
    return picture


def on_squares(ink: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """On squared paper, whose lines have more pixels than the ink."""
    squares = np.zeros_like(ink)
    squares[random.integers(10) :: 10] = squares[:, random.integers(10) :: 10] = 1
    return 0.9 - np.maximum(0.7 * ink, 0.2 * squares)


def around(ink: np.ndarray, margins: np.ndarray) -> tuple[slice, slice]:
    """Return the ink's rows and columns, with margins at its top, bottom, left and right."""
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    top, bottom, left, right = margins
    return np.s_[rows[0] - top : rows[-1] + bottom, columns[0] - left : columns[-1] + right]


def on_a_patch(ink: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A piece of grey paper with the digit, pasted on white."""
    picture = np.ones_like(ink)
    picture[around(ink, random.integers(2, 20, 4))] = 0.8
    return picture - 0.6 * ink


def blurred_to_the_rim(ink: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Out of focus, and cropped so closely that the ink touches the rim."""
    blurred = gaussian_filter(0.9 - 0.7 * ink, 3) + random.normal(0, 0.01, ink.shape)
    cropped: np.ndarray = blurred[around(ink, np.array([0, 1, 0, 1]))]
    return cropped


def beside_an_edge(ink: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A dark table shows beside the paper."""
    picture = 0.9 - 0.7 * ink
    y, x = np.mgrid[: len(ink), : len(ink)]
    picture[x < random.integers(4, 14) + y / 40] = 0.2
    return picture


def half_in_shadow(ink: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The edge of a shadow goes through the digit."""
    y, x = np.mgrid[: len(ink), : len(ink)]
    return (0.9 - 0.6 * ink) * np.where(x + 0.4 * y < random.integers(110, 170), 0.65, 1)


def in_a_rectangle(ink: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """White ink on a black rectangle, on white."""
    picture = np.ones_like(ink)
    picture[around(ink, random.integers(10, 30, 4))] = 0
    np.maximum(picture, ink, out=picture)
    return picture


# Pictures of ink, of its shape or smaller, in [0, 1].
DIFFICULT = [
    in_pieces, on_squares, on_a_patch, blurred_to_the_rim, beside_an_edge, half_in_shadow,
    in_a_rectangle,
]  # fmt: skip


def side_by_side(digits: list[int], random: np.random.Generator, gap: int = 30) -> np.ndarray:
    """Ink of a line of digits, 130 pixels high, with these gaps in pixels between them."""
    parts = []
    for digit in digits:
        ink = drawn(digit, random.uniform(0.05, 0.09), random)
        columns = np.flatnonzero(ink.any(axis=0))
        parts += [ink[:, columns[0] : columns[-1] + 1], np.zeros((len(ink), gap))]
    return np.pad(np.concatenate(parts[:-1], axis=1), ((0, 0), (60, 60)))


def sheet(rows: list[list[int]], random: np.random.Generator) -> np.ndarray:
    """Ink of rows of digits, in cells of (200, 200)."""
    cells = [[drawn(digit, random.uniform(0.05, 0.09), random) for digit in row] for row in rows]
    return np.block(cells)


def on_a_table(ink: np.ndarray, random: np.random.Generator) -> Image.Image:
    """A grey picture of a sheet, a little turned, on a dark table with grain."""
    grain = gaussian_filter(random.normal(0, 1, (len(ink) + 200, ink.shape[1] + 200)), (1, 12))
    picture = 0.25 + 0.04 * grain / grain.std()
    picture[100:-100, 100:-100] = 0.9 - 0.6 * ink
    levels = np.rint(255 * picture.clip(0, 1)).astype(np.uint8)
    return Image.fromarray(levels).rotate(2, Image.Resampling.BILINEAR, fillcolor=64)


def twenty_pictures(folder: Path) -> dict[str, int]:
    """Save each digit once in print and once by hand; return the digits by file name."""
    random = np.random.default_rng(5)
    digits = {}
    for digit in range(10):
        makers: list[tuple[str, Callable[[], np.ndarray]]] = [
            ("printed", lambda digit=digit: printed(digit, FONTS[digit % len(FONTS)])),  # type: ignore[misc]
            ("drawn", lambda digit=digit: drawn(digit, random.uniform(0.03, 0.1), random)),  # type: ignore[misc]
        ]
        for number, (name, make) in enumerate(makers):
            ink = turned(make(), random.uniform(-8, 8))
            light_ink = (digit + number) % 2 == 1
            picture = photographed(ink, random, light_ink=light_ink)
            suffix = "jpg" if digit % 3 == 0 else "png"
            file = f"{digit}-{name}-{'light' if light_ink else 'dark'}.{suffix}"
            picture.save(folder / file)
            digits[file] = digit
    return digits
