"""Read a picture's file, and turn it into grey levels."""

import stat
import warnings
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mnist12k.errors import UserError

Grey = NDArray[np.float32]

WORKING_SIDE = 256  # pixels of the longer side while a digit is located
# What scanners and cameras write. Others would start programs (EPS) or are not pictures.
FORMATS = ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "AVIF"]
with suppress(ImportError):
    from pillow_heif import register_heif_opener

    register_heif_opener()
    FORMATS.append("HEIF")
# What other formats need, by the first letters of the brand in a file's header.
HEIC = "a HEIC picture: to read it, pip install '.[photos]'"
UNREAD = {b"avi": "an AVIF picture: this build of Pillow does not read it"}
UNREAD |= dict.fromkeys([b"hei", b"hev", b"mif", b"msf"], HEIC)


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
        raise UserError(_why_unread(source)) from error
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
        image = Image.fromarray(np.nan_to_num(np.asarray(image, dtype=np.float32)))
    else:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=None)
    values = np.asarray(image, dtype=np.float32)
    if image.mode == "F":
        low, high = min(0, values.min()), values.max()  # cameras use 12 or 14 of 16 bits
        scaled: Grey = (values - low) / max(high - low, np.float32(1e-9))
        return scaled
    colours = values / np.float32(255)
    return _strongest(_on_a_background(colours) if image.mode == "RGBA" else colours)


def _why_unread(source: Path | bytes) -> str:
    """Return why a file that Pillow does not recognise cannot be read."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            source = file.read(12)
    supported = f"not a picture in a supported format ({', '.join(FORMATS)})"
    return UNREAD.get(source[8:11], supported) if source[4:8] == b"ftyp" else supported


def _strongest(colours: Grey) -> Grey:
    """Project (h, w, 3) on its first principal component, in units of the range of one channel."""
    covariance = np.cov(colours.reshape(-1, 3).T.astype(np.float64), bias=True) + 1e-9
    weights = np.linalg.eigh(covariance).eigenvectors[:, -1]
    weights *= (1 if weights.sum() > 0 else -1) / np.abs(weights).sum()
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
