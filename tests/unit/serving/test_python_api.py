"""Three lines of Python: paths, Pillow pictures and arrays give one picture, that of the command."""

from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.imaging.images import BadImageError
from stages.inpainting.cropping import Settings
from stages.inpainting.inpainter import load
from stages.runtime.errors import InputError
from stages.serving.python_api import Model

H, W = 60, 90
ROWS, COLUMNS = np.mgrid[0:H, 0:W]
PHOTO = np.stack([2 * COLUMNS, 3 * ROWS, ROWS + COLUMNS], axis=2).astype(np.uint8)
MISSING = (abs(ROWS - 30) < 8) & (abs(COLUMNS - 40) < 8)
MASK = np.where(MISSING, 255, 0).astype(np.uint8)
MODEL = Model("telea")
WANTED, _ = load("telea")(PHOTO, MISSING, Settings())


@pytest.mark.parametrize("kind", ["path", "text", "pillow", "array", "bytes", "file"])
@pytest.mark.parametrize(
    "mask",
    [
        *("path", "pillow", "one bit", "bytes", "33,23,48,38"),
        *(MASK, MASK[..., None], MASK.astype(np.int64), MASK.astype(np.float32)),
        *(MISSING, MISSING[..., None], MISSING * 1, MISSING * 1.0),
    ],
)
def test_all_kinds_of_pictures_give_the_same(tmp_path: Path, kind: str, mask: object) -> None:
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    Image.fromarray(MASK).save(tmp_path / "mask.png")
    image = {
        "path": tmp_path / "photo.png",
        "text": str(tmp_path / "photo.png"),
        "pillow": Image.fromarray(PHOTO),
        "array": PHOTO,
        "bytes": (tmp_path / "photo.png").read_bytes(),
        "file": BytesIO((tmp_path / "photo.png").read_bytes()),
    }[kind]
    masks = {
        "path": tmp_path / "mask.png",
        "pillow": Image.fromarray(MASK),
        "one bit": Image.fromarray(MISSING),
        "bytes": (tmp_path / "mask.png").read_bytes(),
    }
    filled = MODEL.fill(image, masks.get(mask, mask) if isinstance(mask, str) else mask)
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
    assert "of the picture is missing" in MODEL.report["warnings"][0]


def test_transparent_pixels_are_a_mask() -> None:
    clear = np.dstack([PHOTO, 255 - MASK])
    filled = np.asarray(MODEL.fill(clear, "alpha"))
    assert filled.shape == (H, W, 3)  # now opaque
    assert (filled[~MISSING] == PHOTO[~MISSING]).all()


def test_what_cannot_be_used_is_said() -> None:
    with pytest.raises(BadImageError, match="90 x 60 pixels, but the mask 60 x 90"):
        MODEL.fill(PHOTO, MASK.T)
    with pytest.raises(ValueError, match="`grow` should be from 0 to 64"):
        MODEL.fill(PHOTO, MASK, grow=99)


@pytest.mark.parametrize(
    ("image", "mask", "mask_is", "error", "said"),
    [
        (PHOTO, MASK, "green", ValueError, "`mask_is` .*'green'"),
        (PHOTO / 255, MASK, "white", ValueError, "`image` .*float64"),
        (PHOTO, MASK.astype(np.uint16) * 3, "white", ValueError, "`mask` .*uint16"),
        (PHOTO, None, "white", TypeError, "`mask` .*NoneType"),
        (StringIO("text"), MASK, "white", TypeError, "`image` .*StringIO"),
        ("nope.jpg", MASK, "white", BadImageError, r"nope.jpg: it does not exist \(unreadable\)"),
        (PHOTO, "nope.png", "white", InputError, "nope.png"),
        (PHOTO, "1,2,3,99", "white", InputError, "90 x 60 pixels"),
    ],
)
def test_other_input_is_named(image: Any, mask: Any, mask_is: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        MODEL.fill(image, mask, mask_is)


def test_a_model_may_be_a_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"no model at {tmp_path}/model"):
        Model(tmp_path / "model.onnx")
