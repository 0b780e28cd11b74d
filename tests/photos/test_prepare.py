import contextlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from drawn_digits import DIFFICULT, drawn, photographed, printed, side_by_side
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from mnist12k.errors import UserError
from mnist12k.photos.prepare import prepare
from mnist12k.photos.read import Grey, read_grey

Prepared = NDArray[np.uint8]

INK = drawn(4, 0.07, np.random.default_rng(1))
DARK = (230 - 200 * INK).astype(np.uint8)
RED, GREEN = np.array([200, 40, 40]), np.array([40, 122, 40])  # of the same luminance


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def coloured() -> Image.Image:
    fraction = INK[..., None]
    return Image.fromarray((GREEN * (1 - fraction) + RED * fraction).astype(np.uint8))


def cut_out(level: int) -> Image.Image:
    grey = np.full_like(DARK, level)
    return Image.fromarray(np.dstack([grey, grey, grey, (255 * INK).astype(np.uint8)]))


def turned_by_exif() -> bytes:
    exif = Image.Exif()
    exif[0x112] = 6  # the camera was held on its side
    return saved(Image.fromarray(DARK).rotate(90, expand=True), "JPEG", exif=exif, quality=95)


PICTURES: dict[str, Callable[[], bytes]] = {
    "light on dark": lambda: saved(Image.fromarray(255 - DARK)),
    "JPEG": lambda: saved(Image.fromarray(DARK), "JPEG", quality=90),
    "red on green": lambda: saved(coloured()),
    "palette": lambda: saved(coloured().quantize(16)),
    "GIF": lambda: saved(coloured().quantize(16), "GIF"),
    "CMYK": lambda: saved(Image.fromarray(DARK).convert("CMYK"), "JPEG", quality=95),
    "black on transparent": lambda: saved(cut_out(0)),
    "white on transparent": lambda: saved(cut_out(255)),
    "16 bit": lambda: saved(Image.fromarray(DARK.astype(np.uint16) * 257)),
    "12 of 16 bit": lambda: saved(Image.fromarray(DARK.astype(np.uint16) * 16), "TIFF"),
    "float": lambda: saved(Image.fromarray(DARK.astype(np.float32)), "TIFF"),
    "one bit": lambda: saved(Image.fromarray(DARK).convert("1", dither=Image.Dither.NONE)),
    "EXIF": turned_by_exif,
}


@pytest.mark.parametrize("kind", PICTURES)
def test_the_same_digit_is_the_same_image_however_it_is_stored(kind: str) -> None:
    expected = prepare(read_grey(saved(Image.fromarray(DARK)))).astype(float)
    prepared = prepare(read_grey(PICTURES[kind]())).astype(float)
    assert np.abs(prepared - expected).mean() < 8


@pytest.mark.parametrize("digit", range(10))
def test_ink_fills_20_pixels_and_its_mass_is_where_mnists_is(digit: int) -> None:
    image = prepare(1 - printed(digit, "DejaVuSans"))
    assert image.shape == (28, 28)
    assert image.dtype == np.uint8
    assert max(np.ptp(np.flatnonzero(image.any(axis=axis))) + 1 for axis in (0, 1)) == 20
    assert ndimage.center_of_mass(image) == pytest.approx((14, 14), abs=0.51)


def test_an_image_as_mnist_has_it_stays_nearly_as_it_is() -> None:
    as_mnist = prepare(1 - printed(3, "DejaVuSans"))
    again = prepare(as_mnist.astype(np.float32) / np.float32(255))
    assert np.abs(again.astype(float) - as_mnist).mean() < 3


def test_light_that_falls_off_and_noise_change_little() -> None:
    random = np.random.default_rng(2)
    clean = prepare(1 - INK).astype(float)
    photo = photographed(INK, random, contrast=0.5, fall_off=0.7)
    assert np.abs(prepare(read_grey(saved(photo))) - clean).mean() < 10


def empty_pictures() -> dict[str, Grey]:
    random = np.random.default_rng(3)
    nothing = np.zeros((200, 200), dtype=np.float32)
    return {
        "one grey": np.full((100, 150), 0.5, dtype=np.float32),
        "noise": random.random((150, 200), dtype=np.float32),
        "uneven light": np.asarray(photographed(nothing, random), dtype=np.float32)
        / np.float32(255),
        "a dead pixel": np.pad(np.ones((1, 1), dtype=np.float32), 100),
        "one pixel": np.zeros((1, 1), dtype=np.float32),
    }


@pytest.mark.parametrize("kind", empty_pictures())
def test_a_picture_with_nothing_on_it_is_refused(kind: str) -> None:
    with pytest.raises(UserError, match="the picture is empty"):
        prepare(empty_pictures()[kind])


def difference(image: Prepared, other: Prepared) -> float:
    """Mean difference of two images, one of them moved by up to a pixel: their centres differ."""
    moved = [np.roll(image, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return min(float(np.abs(each.astype(float) - other).mean()) for each in moved)


@pytest.mark.parametrize("digit", range(10))
@pytest.mark.parametrize("picture", DIFFICULT)
def test_a_difficult_picture_is_prepared_as_a_clean_one(
    picture: Callable[[np.ndarray, np.random.Generator], np.ndarray], digit: int
) -> None:
    random = np.random.default_rng(7 + digit)
    ink = drawn(digit, 0.07, random)
    clean = prepare((1 - ink).astype(np.float32))
    assert difference(prepare(picture(ink, random).astype(np.float32)), clean) < 10


def several_digits() -> dict[str, np.ndarray]:
    random = np.random.default_rng(4)
    above, below = (side_by_side([digit], random) for digit in (2, 2))
    width = max(above.shape[1], below.shape[1])
    column = [np.pad(ink, ((0, 0), (0, width - ink.shape[1]))) for ink in (above, below)]
    return {
        "two": side_by_side([3, 5], random),
        "two ones": side_by_side([1, 1], random, gap=40),
        "five": side_by_side([1, 2, 0, 4, 9], random),
        "one above the other": np.concatenate(column),
        "four that touch": side_by_side([6, 8, 0, 3], random, gap=0),
    }


@pytest.mark.parametrize("light_ink", [False, True])
@pytest.mark.parametrize("kind", several_digits())
def test_several_digits_are_refused(kind: str, light_ink: bool) -> None:
    ink = several_digits()[kind]
    photo = photographed(ink, np.random.default_rng(1), light_ink=light_ink, fall_off=0.2)
    with pytest.raises(UserError, match=r"^several digits; crop to one, or use --many$"):
        prepare(read_grey(saved(photo)))


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (1, 900), (900, 3), (7, 5)])
def test_of_any_shape_a_picture_is_prepared_or_refused_in_a_line(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(6)
    for channels in ((), (3,), (4,)):
        for levels in (random.integers(0, 256, shape + channels), np.full(shape + channels, 200)):
            content = saved(Image.fromarray(levels.astype(np.uint8)))
            with contextlib.suppress(UserError):
                assert prepare(read_grey(content)).shape == (28, 28)


@pytest.mark.parametrize("side", [12, 28, 60])
def test_a_solid_rectangle_of_any_size_is_prepared_or_refused_in_a_line(side: int) -> None:
    for height in range(1, side - 1):
        for width in (height, height // 2 + 1):
            grey = np.ones((side, side), dtype=np.float32)
            grey[1 : 1 + height, 1 : 1 + width] = 0
            with contextlib.suppress(UserError):
                assert prepare(grey).shape == (28, 28)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a picture in a supported format"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "not a picture in a supported format",
        ),
        (saved(Image.fromarray(DARK), "JPEG")[:1500], "cannot be read: image file is truncated"),
        (saved(Image.fromarray(DARK))[:400], "cannot be read: "),
    ],
)
def test_a_broken_file_is_refused_in_a_line(content: bytes, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as raised:
        read_grey(content)
    assert "\n" not in str(raised.value)


def test_200_megapixels_are_refused_before_they_are_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = saved(Image.new("1", (20_000, 10_000)))
    monkeypatch.setattr(Image.Image, "load", None)
    with pytest.raises(UserError, match="too large: at most 89 megapixels are read"):
        read_grey(content)
