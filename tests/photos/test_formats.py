"""Formats that phones write: read where a package can, and else named."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from drawn_digits import drawn
from PIL import Image, features

from mnist12k.errors import UserError
from mnist12k.photos import read
from mnist12k.photos.prepare import prepare
from mnist12k.photos.read import read_grey

DARK = (230 - 200 * drawn(4, 0.07, np.random.default_rng(1))).astype(np.uint8)
HEADERS = {  # the first bytes of a file, by its brand
    "heic": "a HEIC picture: to read it, pip install '.[photos]'",
    "mif1": "a HEIC picture: to read it, pip install '.[photos]'",
    "avif": "an AVIF picture: this build of Pillow does not read it",
    "isom": "not a picture in a supported format (PNG, ",
}


@pytest.mark.parametrize("brand", HEADERS)
def test_without_its_package_a_format_is_named(
    brand: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [name for name in read.FORMATS if name not in ("HEIF", "AVIF")]
    monkeypatch.setattr(read, "FORMATS", known)
    content = b"\0\0\0\x18ftyp" + brand.encode() + bytes(40)
    (tmp_path / "photo").write_bytes(content)
    for source in (content, tmp_path / "photo"):
        with pytest.raises(UserError) as raised:
            read_grey(source)
        assert str(raised.value).startswith(HEADERS[brand])


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_with_its_package_it_is_read_as_any_other(kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="the extra photos is not installed")
    elif not features.check("avif"):
        pytest.skip("this build of Pillow has no AVIF")
    file, plain = BytesIO(), BytesIO()
    Image.fromarray(DARK).convert("RGB").save(file, kind, quality=90)
    Image.fromarray(DARK).save(plain, "PNG")
    prepared = prepare(read_grey(file.getvalue())).astype(float)
    assert np.abs(prepared - prepare(read_grey(plain.getvalue()))).mean() < 8
