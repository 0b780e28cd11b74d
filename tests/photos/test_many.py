"""A line or a sheet is read digit by digit."""

from pathlib import Path

import numpy as np
import pytest
from drawn_digits import drawn, on_a_table, photographed, sheet, side_by_side
from PIL import Image

from mnist12k.errors import UserError
from mnist12k.photos.many import Box, draw_boxes, find_all
from mnist12k.photos.prepare import prepare

ROWS = [[3, 1, 4, 1], [5, 9, 2, 6], [5, 3, 5, 8]]


def boxes_of_cells(ink: np.ndarray, shift: int = 0) -> list[Box]:
    """The box of the ink in each cell of (200, 200), row by row."""
    boxes = []
    for top in range(0, len(ink), 200):
        for left in range(0, ink.shape[1], 200):
            cell = ink[top : top + 200, left : left + 200] > 0.5
            rows, columns = (np.flatnonzero(cell.any(axis=axis)) for axis in (1, 0))
            x, y = shift + left, shift + top
            boxes.append((x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1))
    return boxes


@pytest.mark.parametrize("light_ink", [False, True])
@pytest.mark.parametrize("side", [1, 3])
def test_a_sheet_is_read_row_by_row_and_each_box_is_where_the_digit_is(
    side: int, light_ink: bool
) -> None:
    random = np.random.default_rng(1)
    rows = ROWS * side
    ink = sheet(rows, random)
    found = find_all(photographed(ink, random, light_ink=light_ink))
    assert [digit.row for digit in found] == [1 + k // 4 for k in range(len(rows) * 4)]
    boxes = np.array([digit.box for digit in found])
    assert np.abs(boxes - boxes_of_cells(ink)).max() <= 12


def test_a_digit_on_a_sheet_is_prepared_as_it_is_alone() -> None:
    ink = sheet(ROWS, np.random.default_rng(2))
    picture = Image.fromarray(np.rint(255 * (1 - ink)).astype(np.uint8))
    for number, digit in enumerate(find_all(picture)):
        top, left = 200 * (number // 4), 200 * (number % 4)
        alone = prepare(1 - ink[top : top + 200, left : left + 200]).astype(float)
        moved = [np.roll(digit.image, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        assert min(np.abs(each - alone).mean() for each in moved) < 10


@pytest.mark.parametrize("seed", range(3))
def test_the_sheet_is_found_first_where_there_is_a_table_around_it(seed: int) -> None:
    random = np.random.default_rng(seed)
    ink = sheet(ROWS, random)
    found = find_all(on_a_table(ink, random))
    assert [digit.row for digit in found] == [1 + k // 4 for k in range(12)]
    middles = [((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in boxes_of_cells(ink, 100)]
    for digit, (x, y) in zip(found, middles, strict=True):  # turned by two degrees
        left, top, right, bottom = digit.box
        assert abs((left + right) / 2 - x) < 30
        assert abs((top + bottom) / 2 - y) < 30


@pytest.mark.parametrize("gap", [25, 60])
def test_a_line_is_one_row_from_left_to_right(gap: int) -> None:
    random = np.random.default_rng(3)
    found = find_all(photographed(side_by_side([2, 7, 1, 8, 2, 8], random, gap), random))
    assert [digit.row for digit in found] == [1] * 6
    lefts = [digit.box[0] for digit in found]
    assert lefts == sorted(lefts)


def test_a_single_digit_is_a_sheet_of_one() -> None:
    ink = drawn(4, 0.07, np.random.default_rng(1))
    (found,) = find_all(photographed(ink, np.random.default_rng(1)))
    assert found.row == 1


def test_a_sheet_without_digits_is_refused() -> None:
    with pytest.raises(UserError, match="the picture is empty"):
        find_all(on_a_table(np.zeros((400, 600)), np.random.default_rng(1)))


def test_boxes_are_drawn_where_they_are_and_the_rest_stays(tmp_path: Path) -> None:
    picture = Image.new("L", (300, 200), 200)
    draw_boxes(picture, [((50, 100, 90, 160), "7")], tmp_path / "boxes.png")
    with Image.open(tmp_path / "boxes.png") as drawn_picture:
        pixels = np.asarray(drawn_picture)
    is_red = (pixels == (255, 0, 0)).all(axis=2)
    assert is_red[100, 50:91].all()
    assert is_red[100:161, 90].all()
    assert not is_red[105:155, 55:85].any()
    assert (pixels[170:] == 200).all()
    assert [path.name for path in tmp_path.iterdir()] == ["boxes.png"]
