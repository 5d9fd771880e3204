"""What the loader says of a picture; JPEGs decoded at a smaller scale are the same picture, read to the end."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from stages.imaging.images import BadImageError, decode
from tests.bad_files import USABLE, encoded, flipped, photo, turned

LARGE = photo(480, 640)


@pytest.mark.parametrize("name", USABLE)
def test_what_was_done_to_a_picture_is_said(name):
    content, wanted = USABLE[name]()
    decoded = decode(BytesIO(content), 1)
    assert "+".join(decoded.changes) == wanted
    assert decoded.pixels.shape[:2] == decoded.shape
    assert decoded.shape in ((48, 64), (64, 48))


def test_colours_come_out_as_they_look():
    whole = np.asarray(photo(), int)
    for name in ("plain.jpg", "a png named.jpg", "cmyk.jpg", "cmyk.tif", "ycbcr.tif", "trailing garbage.jpg"):
        pixels = decode(BytesIO(USABLE[name]()[0]), 1).pixels
        assert np.abs(pixels - whole).mean() < 4, name
    swapped = decode(BytesIO(USABLE["profile.jpg"]()[0]), 1).pixels
    assert np.abs(swapped - whole[:, :, ::-1]).mean() < 8


@pytest.mark.parametrize(
    ("short_side", "factor"), [(None, 1), (241, 1), (240, 1), (121, 1), (120, 2), (60, 4), (10, 8)]
)
def test_a_jpeg_is_decoded_as_small_as_leaves_twice_what_is_needed(short_side, factor):
    decoded = decode(BytesIO(encoded(LARGE, "JPEG", quality=95)), 1, short_side)
    assert decoded.shape == (480, 640)
    assert decoded.pixels.shape == (480 // factor, 640 // factor, 3)
    box = np.asarray(LARGE.reduce(factor), int)
    assert np.abs(decoded.pixels - box).mean() < 2
    again = decode(BytesIO(encoded(LARGE, "JPEG", quality=95)), 1, short_side)
    assert np.array_equal(again.pixels, decoded.pixels)
    assert decode(BytesIO(encoded(LARGE, "PNG")), 1, short_side).pixels.shape == (480, 640, 3)


@pytest.mark.parametrize("way", range(1, 9))
def test_a_smaller_jpeg_is_turned_and_its_shape_is_the_upright_one(way):
    decoded = decode(BytesIO(encoded(LARGE, "JPEG", **turned(way))), 1, 60)
    upright = (480, 640) if way < 5 else (640, 480)
    assert decoded.shape == upright
    assert decoded.pixels.shape[:2] == (upright[0] // 4, upright[1] // 4)


@pytest.mark.parametrize("progressive", [False, True])
def test_damage_at_the_end_is_found_at_every_scale(progressive):
    whole = encoded(LARGE, "JPEG", quality=90, progressive=progressive)
    for short_side in (None, 120, 10):
        decode(BytesIO(whole), 1, short_side)
        with pytest.raises(BadImageError, match="truncated"):
            decode(BytesIO(whole[:-2]), 1, short_side)
        with pytest.raises(BadImageError, match="truncated"):
            decode(BytesIO(whole[: len(whole) // 2]), 1, short_side)


def test_most_flipped_bits_in_jpeg_data_are_found():
    rng = np.random.default_rng(0)
    whole = encoded(LARGE, "JPEG", quality=90)
    refused = 0
    for _ in range(40):
        try:
            decode(BytesIO(flipped(whole, *rng.integers(len(whole) // 4, len(whole) - 2, 20))), 1)
        except BadImageError as bad:
            refused += bad.code in ("corrupt", "truncated")
    assert refused >= 36


def test_the_padding_of_some_cameras_is_no_damage():
    whole = encoded(LARGE, "JPEG")
    padded = whole[:-2] + b"\0\0\0\0" + whole[-2:]
    assert np.array_equal(decode(BytesIO(padded), 1).pixels, decode(BytesIO(whole), 1).pixels)
    assert Image.open(BytesIO(padded)).size == (640, 480)
