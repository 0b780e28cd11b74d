"""Prepare a picture of a digit as MNIST's were: light ink in a 20x20 box, centred by its mass."""

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from mnist12k.errors import UserError

Grey = NDArray[np.float32]

# What scanners and cameras write. Others would start programs (EPS) or are not pictures.
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM")
WORKING_SIDE = 256  # pixels of the longer side while the ink is located
FRAME, BOX = 28, 20  # the side of MNIST's images, and of the box that the ink fills
CENTRE = 14  # row and column of MNIST's centres of mass
RIM = 0.04  # width of the margin taken for background, as a fraction of the shorter side
WIDEST = 0.3  # maximum width of a stroke, as a fraction of the shorter side
NOISE = 5.0  # ink differs from the background by more standard deviations than this
LEAST_CONTRAST = 0.06  # of ink, as a fraction of the range from black to white
LEAST_EXTENT = 0.03  # of the ink, as a fraction of the longer side
SPECK = 0.04  # pieces smaller than this fraction of the largest are dirt
THINNEST = 1.6  # thinner strokes are widened to this, in pixels of MNIST's image


def prepare(grey: Grey) -> NDArray[np.uint8]:
    """Turn a picture of one digit, shape (h, w), into MNIST's (28, 28), 0 background, 255 ink.

    Raises UserError if it is empty.
    """
    return centred(scaled(find_ink(grey)))


def read_grey(source: Path | bytes) -> Grey:
    """Read a picture as (h, w) in [0, 1], its longer side at most 256 pixels.

    It is rotated as its EXIF data say. Grey is the colour direction of the largest variance, which
    separates red from green of the same brightness. Raises UserError if it cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF data: the pixels count
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            file = BytesIO(source) if isinstance(source, bytes) else source
            with Image.open(file, formats=FORMATS) as image:
                image.draft(None, (2 * WORKING_SIDE, 2 * WORKING_SIDE))  # decode a JPEG small
                return _grey(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise UserError(f"too large: at most {limit:.0f} megapixels are read") from error
    except UnidentifiedImageError as error:
        raise UserError(f"not a picture in a supported format ({', '.join(FORMATS)})") from error
    except MemoryError as error:
        raise UserError("too large for this machine's memory") from error
    except Exception as error:  # Pillow raises whatever a broken file leads to
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UserError(f"cannot be read: {' '.join(reason.split())[:120]}") from error


def find_ink(grey: Grey) -> Grey:
    """Return the ink at each pixel, shape (h, w), in [0, 1], cropped to the ink.

    Ink differs from the background, darker or lighter: see `_contrast`. Raises UserError if there
    is none.
    """
    strength, floor = _contrast(grey)
    above = strength > floor
    if not above.any():
        raise UserError("the picture is empty")
    level = float(np.quantile(strength[above], 0.75))
    if level < LEAST_CONTRAST:
        raise UserError("the picture is empty")
    ink = _without_dirt(strength > max(floor, level / 2))
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    if extent < LEAST_EXTENT * max(grey.shape):
        raise UserError("the picture is empty")
    # A stroke's soft edge belongs to it.
    near = ndimage.binary_dilation(ink, iterations=max(1, round(max(grey.shape) / 100)))
    amount = np.where(near, np.clip(strength / level, 0, 1), 0).astype(np.float32)
    return _cropped(amount, amount > max(0.1, floor / level))


def scaled(ink: Grey) -> Grey:
    """Scale ink, shape (h, w), to 20 pixels on its longer side; widen thin strokes."""
    scale = BOX / max(ink.shape)
    width = scale * _stroke_width(ink > 0.5)
    if width < THINNEST:
        grow = round((THINNEST - width) / scale)
        ink = ndimage.grey_dilation(np.pad(ink, grow), footprint=_disc(grow / 2))
        ink = _cropped(ink, ink > 0.1)
        scale = BOX / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    small = Image.fromarray(ink).resize((width, height), Image.Resampling.BILINEAR)
    values = np.asarray(small, dtype=np.float32)
    normalised: Grey = values / values.max()
    return normalised


def centred(ink: Grey) -> NDArray[np.uint8]:
    """Put ink of at most (20, 20), in [0, 1], into a frame of (28, 28), centred by its mass."""
    frame = np.zeros((FRAME, FRAME), dtype=np.uint8)
    middle = ndimage.center_of_mass(ink)
    top, left = (
        int(np.clip(round(CENTRE - centre), 0, FRAME - side))
        for centre, side in zip(middle, ink.shape, strict=True)
    )
    frame[top : top + ink.shape[0], left : left + ink.shape[1]] = np.rint(255 * ink)
    return frame


def _contrast(grey: Grey) -> tuple[Grey, float]:
    """Return each pixel's difference from the background, and the level above which it is ink.

    A surface of second degree, fitted to the rim and then to all pixels like it, is subtracted as
    the unevenly lit background. The larger deviations decide whether ink is lighter or darker.
    """
    smooth = ndimage.gaussian_filter(grey, 0.004 * max(grey.shape), mode="nearest")
    rim = _rim(grey.shape)
    background = rim
    for _ in range(4):
        rest = smooth - _surface(smooth, background)
        floor = max(NOISE * _spread(rest[rim & background]), LEAST_CONTRAST / 2)
        background = np.abs(rest) < floor
        if (rim & background).sum() < 0.3 * rim.sum():
            background = background | rim
    lighter, darker = ((np.clip(side, floor, None) - floor) ** 3 for side in (rest, -rest))
    strength = rest if lighter.sum() > darker.sum() else -rest
    # What remains of a shadow with an edge is wider than a stroke.
    size = max(3, round(WIDEST * min(grey.shape)))
    strength = strength - ndimage.grey_opening(strength, size=size, mode="nearest")
    strength -= np.median(strength[rim])
    return strength, max(floor, NOISE * _spread(strength[rim]))


def _grey(image: Image.Image) -> Grey:
    """Return the picture's strongest colour direction, in [0, 1], scaled down."""
    if image.mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(image, dtype=np.float32))
        low, high = min(0, values.min()), values.max()  # cameras use 12 or 14 of 16 bits
        values = (values - np.float32(low)) / np.float32(max(high - low, 1e-9))
        return np.asarray(_small(Image.fromarray(values)), dtype=np.float32)
    if image.has_transparency_data:
        return _on_a_background(_channels(image.convert("RGBA")))
    return _strongest(_channels(image.convert("RGB")))


def _channels(image: Image.Image) -> Grey:
    return np.asarray(_small(image), dtype=np.float32) / np.float32(255)


def _small(image: Image.Image) -> Image.Image:
    image.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BOX, reducing_gap=None)
    return image


def _strongest(colours: Grey) -> Grey:
    """Project (h, w, 3) on its first principal component, in units of the range of one channel."""
    points = colours.reshape(-1, 3)
    _, vectors = np.linalg.eigh(np.cov(points.T.astype(np.float64)) + 1e-9)
    weights = vectors[:, -1] / np.abs(vectors[:, -1]).sum()
    if weights.sum() < 0:
        weights = -weights
    projected: Grey = (colours @ weights - np.minimum(weights, 0).sum()).astype(np.float32)
    return projected


def _on_a_background(colours: Grey) -> Grey:
    """Fill the transparent pixels of (h, w, 4).

    If the transparency holds the shape, as in a cut-out digit, with a contrasting grey; else, as
    behind rounded corners, with the median colour.
    """
    alpha = colours[..., 3:]
    opaque = alpha[..., 0] > 0.5
    if not opaque.any():
        return np.zeros(opaque.shape, dtype=np.float32)
    visible = colours[..., :3][opaque]
    is_shape = opaque.mean() < 0.5 or visible.mean(axis=1).std() < 0.1
    fill = float(visible.mean() < 0.5) if is_shape else np.median(visible, axis=0)
    return _strongest((colours[..., :3] * alpha + fill * (1 - alpha)).astype(np.float32))


def _rim(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    width = max(1, round(RIM * min(shape)))
    rim = np.ones(shape, dtype=np.bool_)
    rim[width:-width, width:-width] = False
    return rim


def _surface(values: Grey, where: NDArray[np.bool_]) -> Grey:
    """Fit a surface of second degree to the selected values, without outliers."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in values.shape)
    columns, rows = np.meshgrid(x, y)
    terms = np.stack(
        [np.ones_like(rows), rows, columns, rows * columns, rows**2, columns**2], axis=-1
    )
    x_fit, y_fit = terms[where], values[where]
    kept = np.abs(y_fit - np.median(y_fit)) <= 3 * _spread(y_fit) + 0.1
    weights, *_ = np.linalg.lstsq(x_fit[kept], y_fit[kept], rcond=1e-4)
    return np.asarray(terms @ weights, dtype=np.float32)


def _spread(values: Grey) -> float:
    """Estimate a standard deviation from the median absolute deviation, robust to outliers."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if values.size else 0.0


def _without_dirt(ink: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the largest piece and its neighbours, without specks."""
    pieces, count = ndimage.label(ink, structure=np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    boxes = ndimage.find_objects(pieces)
    largest = boxes[int(sizes.argmax())]
    reach = 0.3 * max(side.stop - side.start for side in largest)
    kept = [
        number + 1
        for number, (size, box) in enumerate(zip(sizes, boxes, strict=True))
        if size >= SPECK * sizes.max()
        and all(
            side.start - main.stop <= reach and main.start - side.stop <= reach
            for side, main in zip(box, largest, strict=True)
        )
    ]
    return np.isin(pieces, kept)


def _stroke_width(ink: NDArray[np.bool_]) -> float:
    """Return the median stroke width in pixels."""
    inside = ndimage.distance_transform_edt(np.pad(ink, 1))
    ridge = inside[(inside > 0) & (inside == ndimage.maximum_filter(inside, size=3))]
    return 2 * float(np.median(ridge)) - 1 if ridge.size else 0.0


def _disc(radius: float) -> NDArray[np.bool_]:
    reach = int(radius)
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    disc: NDArray[np.bool_] = x * x + y * y <= radius * radius
    return disc


def _cropped(values: Grey, where: NDArray[np.bool_]) -> Grey:
    rows, columns = (np.flatnonzero(where.any(axis=axis)) for axis in (1, 0))
    return values[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
