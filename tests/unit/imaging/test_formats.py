"""What phones and cameras write: read with the extra, named with what to install without it."""

import sys
from io import BytesIO

import numpy as np
import pyjpegxl
import pytest
import tifffile
from PIL import Image

from stages.imaging.formats import size_of
from stages.imaging.images import BadImageError, decode_image
from stages.imaging.photos import encode, read_photo, target
from tests.bad_files import REFUSED, encoded, photo
from tests.clone import ROOT

H, W = 96, 128
HEIC = (ROOT / "tests/tiny.heic").read_bytes()  # 64 x 48: red grows by 3 a column, green by 5 a row
DNG_TAGS = [
    (50706, 1, 4, bytes([1, 4, 0, 0]), True), (33421, 3, 2, (2, 2), True), (33422, 1, 4, bytes([0, 1, 1, 2]), True),
    (50708, 2, 0, "Camera", True), (50717, 4, 1, 4095, True),
]  # fmt: skip


def dng() -> bytes:
    """A camera's raw file: a Bayer pattern whose green pixels are bright on the right."""
    raw = np.full((H, W), 400, np.uint16)
    raw[::2, W // 2 + 1 :: 2] = raw[1::2, W // 2 :: 2] = 3500
    tifffile.imwrite(content := BytesIO(), raw, photometric=32803, extratags=DNG_TAGS)
    return content.getvalue()


def test_heic_is_read_upright_and_written_as_jpeg() -> None:
    shown = read_photo(HEIC, 1)
    rows, columns = np.mgrid[0:48, 0:64]
    assert np.abs(shown.pixels[..., 0].astype(int) - 3 * columns).mean() < 4
    assert np.abs(shown.pixels[..., 1].astype(int) - 5 * rows).mean() < 4
    assert target(shown, "keep") == "JPEG"
    kept = read_photo(encode(shown, "JPEG", keep_exif=True), 1)
    assert b"Camera" in kept.metadata.exif
    assert np.array_equal(decode_image(BytesIO(HEIC), 1), shown.pixels)


def jpeg_xl() -> bytes:
    """A JPEG of 64 x 48 that lies on its side, packed as JPEG XL."""
    exif = Image.Exif()
    exif.update({274: 6, 271: "Camera"})
    photo().rotate(90, expand=True).save(content := BytesIO(), "JPEG", exif=exif, quality=95)
    return bytes(pyjpegxl.jpeg_to_jxl(content.getvalue()))


def test_jpeg_xl_is_read_upright_and_written_as_jpeg() -> None:
    shown = read_photo(jpeg_xl(), 1)
    assert np.abs(shown.pixels.astype(int) - np.asarray(photo())).mean() < 4
    assert target(shown, "keep") == "JPEG"
    kept = read_photo(encode(shown, "JPEG", keep_exif=True), 1)
    assert b"Camera" in kept.metadata.exif
    assert kept.pixels.shape == (48, 64, 3)
    with pytest.raises(BadImageError, match="too_many_pixels"):
        read_photo(jpeg_xl(), 0.001)
    deep = pyjpegxl.encode_from_numpy(257 * np.asarray(photo(), np.uint16), lossless=True)
    assert np.array_equal(read_photo(deep, 1).pixels, np.asarray(photo()))
    assert "more than 8 bits per channel become 8" in read_photo(deep, 1).notes[0]


def test_raw_is_developed_and_not_its_preview() -> None:
    shown = read_photo(dng(), 1)
    assert shown.pixels.shape == (H, W, 3)
    assert shown.pixels[20:-20, W // 2 + 20 : -20, 1].mean() > shown.pixels[20:-20, 20 : W // 2 - 20, 1].mean() + 60
    assert target(shown, "keep") == "JPEG"
    with pytest.raises(BadImageError, match="too_many_pixels"):
        read_photo(dng(), 0.01)


def test_the_size_is_known_from_the_header() -> None:
    assert [size_of(BytesIO(content)) for content in (HEIC, dng(), jpeg_xl(), encoded(photo(), "JPEG"))] == [
        (64, 48),
        (W, H),
        (64, 48),
        (64, 48),
    ]


@pytest.mark.parametrize(
    ("content", "package", "said"),
    [
        (HEIC, "pi_heif", "a HEIC picture; to read it, pip install"),
        (dng(), "rawpy", "a camera's RAW file; to read it, pip install"),
        (b"\xff\x0a", "pyjpegxl", "a JPEG XL picture; to read it, pip install"),
    ],
)
def test_without_the_extra_what_to_install_is_said(
    monkeypatch: pytest.MonkeyPatch, content: bytes, package: str, said: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BadImageError, match=rf"{said} 'image-reconstruction\[camera\]'.*needs_extra"):
        read_photo(content, 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (HEIC[:300], "the HEIC picture is damaged or truncated"),
        (b"\0\0\0\x18ftypheic" + bytes(200), "the HEIC picture is damaged or truncated"),
        (dng()[:400], "the RAW file is damaged or truncated"),
        (dng()[:-5000], "the RAW file is damaged or truncated"),
        (dng()[:60] + bytes(900), "a TIFF or RAW file that is damaged, or of a kind that is not read"),
        (b"\xff\x0a" + bytes(50), "the file is damaged: Invalid or unreadable JPEG XL data"),
        (jpeg_xl()[:-300], "the file is damaged: Incomplete JXL data"),
        (encoded(photo(), "JPEG")[:-300], "the file is truncated: its end is missing"),
        (REFUSED["lying header.png"]()[0], "more than 178 megapixels, which is the most that can be read"),
        (b"", "the file is empty"),
        (b"text", r"not a picture in a supported format \(JPEG, .*, HEIC, JPEG XL, RAW\)"),
    ],
)
def test_what_is_damaged_or_not_read_is_refused_in_words(content: bytes, said: str) -> None:
    with pytest.raises(BadImageError, match=rf"^the picture: {said} \(\w+\)$"):
        read_photo(content, 1)
