"""The hole that a person gives: white or black, painted or transparent, or boxes; what looks wrong is said."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from stages.imaging.images import BadImageError
from stages.imaging.photos import read_photo
from stages.imaging.user_mask import boxed, check_size, parse_boxes, read_hole, transparent
from stages.runtime.errors import InputError

H, W = 40, 60
HOLE = np.zeros((H, W), bool)
HOLE[10:20, 30:50] = True


def file_of(array: np.ndarray) -> bytes:
    Image.fromarray(array).save(content := BytesIO(), "PNG")
    return content.getvalue()


def painted(white: np.ndarray) -> np.ndarray:
    return np.where(white, 255, 0).astype(np.uint8)


@pytest.mark.parametrize(("hole_is", "white"), [("white", HOLE), ("black", ~HOLE)])
def test_a_picture_of_either_polarity(hole_is: str, white: np.ndarray) -> None:
    given = read_hole(file_of(painted(white)), hole_is, 1)
    assert np.array_equal(given.missing, HOLE)
    assert (given.source, given.warnings) == (f"brightness ({hole_is} is missing)", ())


def test_white_begins_at_128() -> None:
    assert read_hole(file_of(np.uint8([[127, 128]])), "white", 1).missing.tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("hole_is", "painted_on", "source"),
    [("white", HOLE, "transparency (opaque is missing)"), ("black", ~HOLE, "transparency (transparent is missing)")],
)
def test_a_layer_is_read_by_its_transparency_but_an_opaque_one_by_its_brightness(
    hole_is: str, painted_on: np.ndarray, source: str
) -> None:
    layer = np.zeros((H, W, 4), np.uint8)
    layer[..., 3] = painted(painted_on)
    given = read_hole(file_of(layer), hole_is, 1)
    assert np.array_equal(given.missing, HOLE)
    assert given.source == source
    opaque = np.dstack([*[painted(painted_on)] * 3, np.full((H, W), 255, np.uint8)])
    assert np.array_equal(read_hole(file_of(opaque), hole_is, 1).missing, HOLE)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "I;16"])
@pytest.mark.parametrize("hole_is", ["white", "black"])
def test_pictures_of_holes_of_every_mode_are_read_alike(mode: str, hole_is: str) -> None:
    white = HOLE if hole_is == "white" else ~HOLE
    picture = Image.fromarray(painted(white)).convert("RGB" if mode in ("CMYK", "P") else "L")
    picture = Image.fromarray(painted(white).astype(np.uint16) * 257) if mode == "I;16" else picture.convert(mode)
    picture.save(content := BytesIO(), "TIFF")
    assert np.array_equal(read_hole(content.getvalue(), hole_is, 1).missing, HOLE)


def test_the_photos_own_transparency() -> None:
    photo = read_photo(file_of(np.dstack([*[painted(~HOLE)] * 3, painted(~HOLE)])), 1)
    assert np.array_equal(transparent(photo).missing, HOLE)
    with pytest.raises(InputError, match="the photo has no transparency to use as a mask"):
        transparent(read_photo(file_of(painted(HOLE)), 1))


def test_boxes_in_pixels() -> None:
    assert np.array_equal(boxed(parse_boxes("30,10,50,15 30,15,50,20"), H, W).missing, HOLE)


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "1,2,3,-4", "1,2,3,99999999"])
def test_boxes_of_other_words_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="boxes should be left,top,right,bottom in pixels"):
        parse_boxes(text)


@pytest.mark.parametrize("box", [(0, 0, W + 1, H), (5, 5, 5, 9), (9, 9, 4, 12)])
def test_boxes_beyond_the_photo_are_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="within the 60 x 40 pixels of the photo"):
        boxed([box], H, W)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (painted(HOLE & False), "nothing is missing"),
        (painted(~HOLE), "92% of the picture is missing; is white the hole, or black? --mask-is black says black"),
        (np.dstack([painted(HOLE)] * 3 + [painted(~HOLE)]), "92% of the picture is missing"),
        (np.full((H, W), 100, np.uint8), "100% of the mask picture is neither black nor white"),
    ],
)
def test_what_looks_wrong_is_said(array: np.ndarray, said: str) -> None:
    assert any(said in warning for warning in read_hole(file_of(array), "white", 1).warnings)


def test_another_size_than_the_photos_is_refused() -> None:
    photo = read_photo(file_of(np.zeros((H, W, 3), np.uint8)), 1)
    with pytest.raises(BadImageError, match="the photo is 60 x 40 pixels, but the mask 40 x 60"):
        check_size(read_hole(file_of(painted(HOLE.T)), "white", 1), photo)
