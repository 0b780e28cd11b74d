"""Read a picture's file, and turn it into grey levels."""

import stat
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError, features

from mnist12k.errors import UserError

Grey = NDArray[np.float32]

WORKING_SIDE = 256  # pixels of the longer side while a digit is located
# What scanners and cameras write. Others would start programs (EPS) or are not pictures.
FORMATS = ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM"]
# Formats that need something else, by the brands that their files begin with.
BRANDS = {
    b"avif": "AVIF", b"avis": "AVIF",
    **dict.fromkeys([b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"], "HEIC"),
}  # fmt: skip
MISSING = {
    "AVIF": "an AVIF picture: this build of Pillow does not read it",
    "HEIC": "a HEIC picture: to read it, pip install '.[photos]'",
}
if features.check("avif"):
    FORMATS.append("AVIF")
try:
    from pillow_heif import register_heif_opener
except ImportError:
    pass
else:
    register_heif_opener()
    FORMATS.append("HEIF")


def read_grey(source: Path | bytes) -> Grey:
    """Read a picture of one digit: `grey_levels` of `read_picture`, at most 256 pixels a side."""
    return grey_levels(read_picture(source, WORKING_SIDE), WORKING_SIDE)


def read_picture(source: Path | bytes, side: int | None = None) -> Image.Image:
    """Read a picture, rotated as its EXIF data say.

    With `side`, a JPEG may be decoded smaller, its sides at least twice that. Raises UserError if
    it is no picture, damaged or too large.
    """
    try:
        if isinstance(source, Path) and not stat.S_ISREG(source.stat().st_mode):
            raise UserError("not a regular file")  # reading a pipe or a device may never end
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF data: the pixels count
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            file = BytesIO(source) if isinstance(source, bytes) else source
            with Image.open(file, formats=FORMATS) as image:
                if side:
                    image.draft(None, (2 * side, 2 * side))
                return ImageOps.exif_transpose(image)
    except UserError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise UserError(f"too large: at most {limit:.0f} megapixels are read") from error
    except UnidentifiedImageError as error:
        supported = f"not a picture in a supported format ({', '.join(FORMATS)})"
        raise UserError(MISSING.get(_brand(source), supported)) from error
    except MemoryError as error:
        raise UserError("too large for this machine's memory") from error
    except Exception as error:  # Pillow raises whatever a broken file leads to
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UserError(f"cannot be read: {' '.join(reason.split())[:120]}") from error


def grey_levels(image: Image.Image, side: int) -> Grey:
    """Return a picture as (h, w) in [0, 1], scaled down to at most `side` pixels.

    Grey is the colour direction of the largest variance, which separates red from green of the same
    brightness.
    """
    if image.mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(image, dtype=np.float32))
        low, high = min(0, values.min()), values.max()  # cameras use 12 or 14 of 16 bits
        values = (values - np.float32(low)) / np.float32(max(high - low, 1e-9))
        return np.asarray(_small(Image.fromarray(values), side), dtype=np.float32)
    mode = "RGBA" if image.has_transparency_data else "RGB"
    colours = np.asarray(_small(image.convert(mode), side), dtype=np.float32) / np.float32(255)
    return _strongest(_on_a_background(colours) if mode == "RGBA" else colours)


def _brand(source: Path | bytes) -> str:
    """Return the format that a file's first bytes name, if it is one of BRANDS, else nothing."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            source = file.read(12)
    return BRANDS.get(source[8:12], "") if source[4:8] == b"ftyp" else ""


def _small(image: Image.Image, side: int) -> Image.Image:
    image.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=None)
    return image


def _strongest(colours: Grey) -> Grey:
    """Project (h, w, 3) on its first principal component, in units of the range of one channel."""
    points = colours.reshape(-1, 3)
    _, vectors = np.linalg.eigh(np.cov(points.T.astype(np.float64), bias=True) + 1e-9)
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
        return np.zeros_like(colours[..., :3])
    visible = colours[..., :3][opaque]
    is_shape = opaque.mean() < 0.5 or visible.mean(axis=1).std() < 0.1
    fill = float(visible.mean() < 0.5) if is_shape else np.median(visible, axis=0)
    filled: Grey = (colours[..., :3] * alpha + fill * (1 - alpha)).astype(np.float32)
    return filled
