"""One photo, one mask, one filled photo: what is transparent, what has 16 bits, what is said."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from stages.imaging.photos import encode, read_photo
from stages.imaging.user_mask import UserMask, boxed, transparent, with_warnings
from stages.inpainting.cropping import Settings
from stages.inpainting.inpainter import load
from stages.inpainting.photo import fill

H, W = 160, 200
Y, X = np.mgrid[0:H, 0:W]
DISC = (Y - 80) ** 2 + (X - 90) ** 2 < 60**2
YELLOW = (240, 210, 30)
MEAN = load("harmonic")


def photo_of(array: np.ndarray):
    Image.fromarray(array).save(content := BytesIO(), "PNG")
    return read_photo(content.getvalue(), 1)


def disc(alpha: np.ndarray) -> np.ndarray:
    return np.where(alpha[..., None] > 0, np.uint8([*YELLOW, 0]), 0).astype(np.uint8) + alpha[..., None] * np.uint8(
        [0, 0, 0, 1]
    )


@pytest.mark.parametrize("settings", [Settings(), Settings(grow=3, feather=4)])
def test_colours_of_transparent_pixels_are_nobodys(settings: Settings) -> None:
    clear_black = disc(np.where(DISC, 255, 0).astype(np.uint8))
    mask = boxed([(130, 60, 170, 100)], H, W)
    filled, report = fill(photo_of(clear_black), mask, MEAN, settings)
    assert np.abs(filled.pixels[DISC].astype(int) - YELLOW).max() <= 2
    assert np.array_equal(filled.alpha, clear_black[..., 3])
    assert np.array_equal(filled.pixels[~DISC & (X < 120)], clear_black[~DISC & (X < 120)][:, :3])
    assert "stay transparent" in report["warnings"][0]


@pytest.mark.parametrize("grow", [0, 6])
def test_transparency_that_is_the_hole_is_filled_and_opaque(grow: int) -> None:
    """Two pixels around the hole are half transparent, as an eraser leaves them."""
    holed = np.where((abs(Y - 80) < 10) & (abs(X - 90) < 10), 0, 255).astype(np.uint8)
    holed[68:70, 80:101] = 140
    photo = photo_of(disc(np.minimum(holed, 255)))
    by_alpha, _ = fill(photo, transparent(photo), MEAN, Settings(grow=grow))
    by_mask, _ = fill(photo, boxed([(80, 70, 101, 91)], H, W), MEAN, Settings(grow=grow))
    for filled in (by_alpha, by_mask):
        opacity = np.full((H, W), 255) if filled.alpha is None else filled.alpha
        assert opacity[70:91, 80:101].min() == 255
        assert opacity[68:70, 80:101].min() == (255 if grow else 140)


def test_a_hole_that_leaves_corners_transparent_is_opaque_itself() -> None:
    """Rounded corners far away do not make what was erased here stay transparent."""
    alpha = np.full((H, 600), 255, np.uint8)
    alpha[:8, :8] = alpha[70:90, 500:520] = 0
    photo = photo_of(np.dstack([np.full((H, 600, 3), 99, np.uint8), alpha]))
    filled, _ = fill(photo, boxed([(500, 70, 520, 90)], H, 600), MEAN, Settings())
    assert filled.alpha is not None
    assert filled.alpha[70:90, 500:520].min() == 255
    assert filled.alpha[:8, :8].max() == 0


def test_known_pixels_of_sixteen_bits_stay_what_they_are() -> None:
    deep = (200 * X + 100 * Y).astype(np.uint16)
    photo = photo_of(deep)
    filled, _ = fill(photo, boxed([(50, 50, 80, 80)], H, W), MEAN, Settings())
    again = np.asarray(Image.open(BytesIO(encode(filled, "PNG"))))
    known = np.ones((H, W), bool)
    known[50:80, 50:80] = False
    assert np.array_equal(again[known], deep[known])
    assert np.abs(again.astype(int) - deep)[~known].max() < 6 * 257


def test_a_mask_of_everything_is_said_to_be_one() -> None:
    everything: UserMask = with_warnings(np.ones((H, W), bool), "boxes")
    _, report = fill(photo_of(np.zeros((H, W, 3), np.uint8)), everything, MEAN)
    assert report["is_nearly_all"]
    assert "hardly anything to fill it from" in report["warnings"][0]


def object_on_noise() -> np.ndarray:
    """A disc with a soft edge on a textured ground."""
    rng = np.random.default_rng(0)
    ground = np.asarray(
        Image.fromarray(rng.integers(90, 160, (20, 25, 3), np.uint8)).resize((W, H), Image.Resampling.BICUBIC)
    )
    share = (50 - np.hypot(Y - 80, X - 90)).clip(-1.5, 1.5) / 3 + 0.5
    return (ground + share[..., None] * ([20, 30, 240] - ground.astype(float))).round().astype(np.uint8)


@pytest.mark.parametrize(
    ("room_px", "grow", "is_said"), [(-2, 0, True), (0, 0, True), (0, 6, False), (6, 0, False), (None, 0, False)]
)
def test_an_edge_of_an_object_along_the_border_is_said(room_px: int | None, grow: int, is_said: bool) -> None:
    pixels = object_on_noise()
    missing = np.hypot(Y - 80, X - 90) < 50 + room_px if room_px is not None else np.hypot(Y - 80, X - 20) < 12
    _, report = fill(photo_of(pixels), with_warnings(missing, "boxes"), MEAN, Settings(grow=grow))
    assert any("a strong edge runs along" in warning for warning in report["warnings"]) == is_said
