"""Three lines of Python: paths, Pillow pictures and arrays give one picture, that of the command."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.imaging.images import BadImageError
from stages.inpainting.cropping import Settings
from stages.inpainting.inpainter import load
from stages.serving.python_api import Model

H, W = 60, 90
ROWS, COLUMNS = np.mgrid[0:H, 0:W]
PHOTO = np.stack([2 * COLUMNS, 3 * ROWS, ROWS + COLUMNS], axis=2).astype(np.uint8)
MISSING = (abs(ROWS - 30) < 8) & (abs(COLUMNS - 40) < 8)
MASK = np.where(MISSING, 255, 0).astype(np.uint8)
MODEL = Model("telea")
WANTED, _ = load("telea")(PHOTO, MISSING, Settings())


@pytest.mark.parametrize("kind", ["path", "text", "pillow", "array"])
@pytest.mark.parametrize("mask", ["path", "pillow", "one bit", MASK, MISSING, MISSING * 1, MISSING * 1.0])
def test_all_kinds_of_pictures_give_the_same(tmp_path: Path, kind: str, mask: object) -> None:
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    Image.fromarray(MASK).save(tmp_path / "mask.png")
    image = {
        "path": tmp_path / "photo.png",
        "text": str(tmp_path / "photo.png"),
        "pillow": Image.fromarray(PHOTO),
        "array": PHOTO,
    }[kind]
    masks = {"path": tmp_path / "mask.png", "pillow": Image.fromarray(MASK), "one bit": Image.fromarray(MISSING)}
    filled = MODEL.fill(image, masks[mask] if isinstance(mask, str) else mask)
    assert np.array_equal(np.asarray(filled), WANTED)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_picture_keeps_its_mode_size_and_profile(mode: str) -> None:
    picture = Image.fromarray(PHOTO).convert("L" if mode == "I;16" else mode)
    picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257) if mode == "I;16" else picture
    picture.info["icc_profile"] = b"profile"
    filled = MODEL.fill(picture, MASK)
    assert filled.size == (W, H)
    assert filled.mode == {"1": "L", "P": "RGB"}.get(mode, mode)
    assert filled.info["icc_profile"] == b"profile"
    known = np.asarray(picture.convert("RGB") if mode == "P" else picture if mode != "1" else picture.convert("L"))
    assert np.array_equal(np.asarray(filled)[~MISSING], known[~MISSING])


def test_settings_polarity_and_report() -> None:
    grown = MODEL.fill(PHOTO, Image.fromarray(255 - MASK), mask_is="black", grow=3)
    assert np.array_equal(np.asarray(grown), load("telea")(PHOTO, MISSING, Settings(grow=3))[0])
    assert MODEL.report["scale"] == 1
    MODEL.fill(PHOTO, ~MISSING)
    assert "of the picture is missing; is white the hole" in MODEL.report["warnings"][0]


def test_what_cannot_be_used_is_said() -> None:
    with pytest.raises(BadImageError, match="the photo is 90 x 60 pixels, but the mask 60 x 90"):
        MODEL.fill(PHOTO, MASK.T)
    with pytest.raises(ValueError, match=r"should be uint8 \(H, W\), .* but is float64"):
        MODEL.fill(PHOTO / 255, MASK)
    with pytest.raises(ValueError, match="`grow` should be from 0 to 64"):
        MODEL.fill(PHOTO, MASK, grow=99)
