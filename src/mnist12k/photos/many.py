"""Find the digits of a line or a sheet, in reading order."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from mnist12k.errors import UserError
from mnist12k.files import atomic_write
from mnist12k.photos.prepare import Ink, Mask, as_mnist, find_digits, otsu
from mnist12k.photos.read import WORKING_SIDE, Grey, grey_levels

SIDES = (256, 512, 1024, 2048)  # of the picture, until its digits are large enough
SPAN = 128  # pixels: within which a digit then fits
LARGE_ENOUGH = 32  # pixels: the height of most digits
SHEET = 0.2  # the smallest sheet, as a fraction of the picture
# A table is darker than this, as a fraction of the sheet's grey. A shadow may be so too, but not on
# all sides.
DARKER, DARKER_AROUND = 0.6, 0.8
SOLID = 0.7  # more than this fraction of a sheet is paper without ink

Box = tuple[int, int, int, int]  # left, top, right, bottom


class Found(NamedTuple):
    """A digit: its row, from 1, its box in pixels of the picture, its image as MNIST's (28, 28)."""

    row: int
    box: Box
    image: NDArray[np.uint8]


def find_all(picture: Image.Image) -> list[Found]:
    """Return the digits of a picture, in reading order; UserError if there is none."""
    inks, scale = _inks(picture)
    found = []
    for row, members in enumerate(_rows(inks), 1):
        for ink in members:
            height, width = ink.amount.shape
            edges = (ink.left, ink.top, ink.left + width, ink.top + height)
            left, top, right, bottom = (round(scale * edge) for edge in edges)
            found.append(Found(row, (left, top, right, bottom), as_mnist(ink.amount)))
    return found


def draw_boxes(picture: Image.Image, boxes: list[tuple[Box, str]], path: Path) -> None:
    """Save the picture with a box and a text for each digit."""
    drawn = picture.convert("RGB")
    draw = ImageDraw.Draw(drawn)
    width = max(2, max(picture.size) // 500)
    font = ImageFont.load_default(max(12, max(picture.size) // 50))
    for box, text in boxes:
        draw.rectangle(box, outline="red", width=width)
        draw.text(box[:2], text, fill="red", font=font, anchor="lb")
    with atomic_write(path) as temporary:
        drawn.save(temporary)


def _inks(picture: Image.Image) -> tuple[list[Ink], float]:
    """Return the digits, and the picture's pixels per pixel of their boxes.

    A sheet is scaled until most of its digits are large enough, but fit into the span. What does
    not fit at any scale is a single digit.
    """
    sheet = _sheet(grey_levels(picture, WORKING_SIDE))
    sides = [side for side in SIDES if side < 2 * max(picture.size)] or SIDES[:1]
    for side in sides:
        grey = _only(sheet, grey_levels(picture, side))
        with suppress(UserError):
            inks = find_digits(grey, min(SPAN, max(grey.shape)))
            height = np.median([len(ink.amount) for ink in inks])
            if height >= LARGE_ENOUGH or side == sides[-1]:
                break
    else:
        grey = _only(sheet, grey_levels(picture, WORKING_SIDE))
        inks = find_digits(grey, max(grey.shape))
    return inks, max(picture.size) / max(grey.shape)


def _sheet(grey: Grey) -> Mask | None:
    """Return the sheet of paper, without its rim, if there is a darker table around it."""
    size = round(0.1 * max(grey.shape))
    padded = np.pad(grey, size, mode="edge")
    paper = ndimage.grey_closing(padded, size)[size:-size, size:-size]  # without the ink
    level = otsu(paper, float(paper.min()))
    pieces, count = ndimage.label(paper > level)
    if not count:
        return None
    largest = np.pad(pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:]), size, mode="edge")
    # Without the light grain of wood that it touches.
    whole = ndimage.binary_opening(ndimage.binary_fill_holes(largest), np.ones((size, size)))
    sheet = whole[size:-size, size:-size]
    table = paper[~sheet]
    rim = np.concatenate([sheet[0], sheet[-1], sheet[:, 0], sheet[:, -1]])
    is_sheet = (
        sheet.mean() >= SHEET
        and table.size > 0
        and np.median(table) < (DARKER if rim.any() else DARKER_AROUND) * np.median(paper[sheet])
        and (grey[sheet] > level).mean() > SOLID
    )
    return ndimage.binary_erosion(sheet, iterations=3) if is_sheet else None


def _only(sheet: Mask | None, grey: Grey) -> Grey:
    """Make everything around the sheet as grey as paper."""
    if sheet is None:
        return grey
    size = (grey.shape[1], grey.shape[0])
    inside = np.asarray(Image.fromarray(sheet).resize(size, Image.Resampling.NEAREST))
    return np.where(inside, grey, np.median(grey[inside]))


def _rows(inks: list[Ink]) -> list[list[Ink]]:
    """Sort the digits into rows: each continues the row whose last digit it is beside."""
    rows: list[list[Ink]] = []
    for ink in sorted(inks, key=lambda ink: ink.left):
        for row in rows:
            last = row[-1]
            if abs(_middle(ink) - _middle(last)) < max(len(ink.amount), len(last.amount)) / 2:
                row.append(ink)
                break
        else:
            rows.append([ink])
    return sorted(rows, key=lambda row: np.mean([_middle(ink) for ink in row]))


def _middle(ink: Ink) -> float:
    return ink.top + len(ink.amount) / 2
