"""Prepare a picture of a digit as MNIST's were: light ink in a 20x20 box, centred by its mass."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from mnist12k.errors import UserError
from mnist12k.photos.read import Grey

Mask = NDArray[np.bool_]

FRAME, BOX = 28, 20  # the side of MNIST's images, and of the box that the ink fills
CENTRE = 14  # row and column of MNIST's centres of mass
# As fractions of the span, within which a digit fits: a stroke's width, half of a weak bridge's
# length, the ink's extent.
WIDEST, BRIDGE, LEAST_EXTENT = 0.4, 0.03, 0.03
NOISE = 5.0  # ink differs from the background by more standard deviations than this
LEAST_CONTRAST = 0.06  # of ink, as a fraction of the range from black to white
SPECK = 0.04  # pieces smaller than this fraction of most ink's pieces are dirt
# As fractions of a digit's height: the gap between two of its pieces; the height below which a
# piece is no digit by itself, and how far it may be from its digit.
GAP, SMALL, REACH = 0.1, 0.4, 0.5
WIDEST_DIGIT = 2.0  # wider ink, relative to its height, is more than a digit
SOLID = 0.75  # a patch of paper fills more than this fraction of its bounding box
RIM = 0.04  # the width of the patch's soft edge, as a fraction of its longer side
CROSS, SQUARE = (ndimage.generate_binary_structure(2, reach) for reach in (1, 2))


class Ink(NamedTuple):
    """One digit's ink in [0, 1], shape (h, w), and its top and left in the picture, in pixels."""

    amount: Grey
    top: int
    left: int


def prepare(grey: Grey) -> NDArray[np.uint8]:
    """Turn a picture of one digit, shape (h, w), into MNIST's (28, 28), 0 background, 255 ink.

    Raises UserError if it is empty, or shows several digits.
    """
    digits = find_digits(grey, max(grey.shape))
    if len(digits) == 1 and (patch := _patch(grey, digits[0])) is not None:
        return prepare(patch)
    height, width = digits[0].amount.shape
    if len(digits) > 1 or width > WIDEST_DIGIT * height:
        raise UserError("several digits; crop to one, or use --many")
    return as_mnist(digits[0].amount)


def as_mnist(ink: Grey) -> NDArray[np.uint8]:
    """Scale ink, shape (h, w) in [0, 1], into 20x20, and centre it by its mass in (28, 28)."""
    scale = BOX / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    small = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BILINEAR))
    top, left = (
        int(np.clip(round(CENTRE - middle), 0, FRAME - side))
        for middle, side in zip(ndimage.center_of_mass(small), small.shape, strict=True)
    )
    frame = np.zeros((FRAME, FRAME), dtype=np.uint8)
    frame[top : top + height, left : left + width] = np.rint(255 * small / small.max())
    return frame


def find_digits(grey: Grey, span: int) -> list[Ink]:
    """Return the ink of each digit, whose sides are at most `span` pixels.

    Ink differs from the background, darker or lighter: see `_contrast`. Of what stands out from the
    noise, Otsu's threshold separates it from squared paper, shadows and the edges of paper; what is
    connected to it is ink from half that threshold on. Raises UserError if there is none.
    """
    strength, noise = _contrast(grey, span)
    floor = max(NOISE * noise, LEAST_CONTRAST / 2)
    outstanding = strength[strength > floor]
    level = otsu(outstanding, floor) if outstanding.size else floor
    certain = strength > level
    full = float(np.median(strength[certain])) if certain.any() else 0.0
    if full < LEAST_CONTRAST:
        raise UserError("the picture is empty")
    # A weak bridge joins a digit's parts, but does not lead to the lines of squared paper.
    steps = max(2, round(BRIDGE * span))
    bridged = ndimage.binary_dilation(certain, SQUARE, steps, strength > max(floor, level / 4))
    ink = ndimage.binary_propagation(bridged, SQUARE, strength > max(floor, level / 2))
    # A stroke's soft edge belongs to it.
    edge = ndimage.iterate_structure(CROSS, max(1, round(span / 100)))
    digits = ndimage.grey_dilation(_digits(ink, span), footprint=edge)
    digits[strength <= max(0.1 * full, floor)] = 0
    amount = np.clip(strength / full, 0, 1)
    inks = [
        Ink(np.where(digits[box] == number, amount[box], 0), box[0].start, box[1].start)
        for number, box in enumerate(ndimage.find_objects(digits), 1)
        if box and max(side.stop - side.start for side in box) >= LEAST_EXTENT * span
    ]
    if not inks:
        raise UserError("the picture is empty")
    return inks


def _patch(grey: Grey, ink: Ink) -> Grey | None:
    """Return the inside of ink that is a solid rectangle, as paper on a table, else None."""
    height, width = ink.amount.shape
    is_narrow = min(height, width) < max(BOX, WIDEST * max(height, width))  # as a digit 1
    if is_narrow or ink.amount.mean() < SOLID:
        return None
    rim = max(1, round(RIM * max(height, width)))
    return grey[ink.top :, ink.left :][rim : height - rim, rim : width - rim]


def _contrast(grey: Grey, span: int) -> tuple[Grey, float]:
    """Return each pixel's difference from the background, and the noise's standard deviation.

    The background is the picture without what is narrower than a stroke can be: dark ink is closed,
    light ink is opened. The right one of the two leaves the smoother background.
    """
    smooth = ndimage.gaussian_filter(grey, 0.004 * span, mode="nearest")
    size = max(3, round(WIDEST * span))
    # The outermost pixels are repeated outside, so that a strip along the border is wide.
    padded, inner = np.pad(smooth, size, mode="edge"), np.s_[size:-size, size:-size]
    backgrounds = [way(padded, size)[inner] for way in (ndimage.grey_closing, ndimage.grey_opening)]
    strength = np.abs(smooth - min(backgrounds, key=lambda values: _steps(values).sum()))
    # Of normal noise: the median step between neighbours is 0.95 standard deviations.
    noise = float(np.median(_steps(smooth), axis=(1, 2)).max()) / 0.954
    # What noise adds; ink that covers most of the picture is no noise.
    bias = min(float(np.median(strength)), max(NOISE * noise, LEAST_CONTRAST))
    return strength - bias, noise


def _steps(values: Grey) -> Grey:
    """Return the size of the step from each pixel to the next, down and across: (2, h, w)."""
    return np.abs([ndimage.correlate1d(values, [-1, 1], axis) for axis in (0, 1)])


def otsu(values: Grey, lowest: float) -> float:
    """Return Otsu's threshold between `lowest` and the largest value."""
    counts, edges = np.histogram(values, 256, (lowest, float(values.max())))
    centres = (edges[1:] + edges[:-1]) / 2
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * centres)
    between = (sums[-1] * below / values.size - sums[:-1]) ** 2
    return float(edges[1 + np.argmax(between / np.maximum(below * (values.size - below), 1))])


def _digits(ink: Mask, span: int) -> NDArray[np.intp]:
    """Number the digits of the ink, from 1; 0 is background and dirt.

    Pieces with small gaps between them are one digit, and so are a small piece and the digit
    nearest to it. Gaps are measured by the height of what has been joined so far.
    """
    pieces: NDArray[np.intp] = ndimage.label(ink, SQUARE)[0]
    pieces[(_heights(pieces) > span)[pieces]] = 0
    sizes = np.bincount(pieces.ravel())
    ink = pieces > 0
    if not ink.any():
        return pieces
    ink &= (sizes >= SPECK * np.median(sizes[pieces[ink]]))[pieces]
    distance = ndimage.distance_transform_edt(~ink)
    height = 0.0
    for _ in range(3):  # each round joins pieces by the height that the last one has found
        groups = ndimage.label(distance <= GAP / 2 * height, SQUARE)[0] * ink
        heights = _heights(groups)
        height = float(np.median(heights[groups[ink]]))  # of pixels: most are in digits
    large = (heights >= SMALL * height)[groups] & ink
    distance, nearest = ndimage.distance_transform_edt(~large, return_indices=True)
    near = ink & (distance <= REACH * height)
    digits: NDArray[np.intp] = np.where(near, groups[tuple(nearest)], 0)
    return digits


def _heights(numbered: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the height of each numbered part, and 0 for the background."""
    boxes = ndimage.find_objects(numbered)
    heights: NDArray[np.intp] = np.array([0, *(rows.stop - rows.start for rows, _ in boxes)])
    return heights
