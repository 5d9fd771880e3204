"""Fill holes from Python: takes paths, Pillow images or arrays, returns a Pillow image.

from stages.serving.python_api import Model

model = Model()                                   # the champion; or a folder, a .onnx, "telea", ...
model.fill("photo.jpg", "mask.png").save("filled.png")
"""

from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from stages.imaging.photos import Photo, as_pillow, read_photo
from stages.imaging.user_mask import HoleIs, UserMask, read_hole, with_warnings
from stages.inpainting.cropping import Settings
from stages.inpainting.photo import fill
from stages.serving.batch import MAX_MEGAPIXELS
from stages.serving.models import open_inpainter
from stages.serving.registered import DEFAULT_MODEL

Picture: TypeAlias = str | Path | Image.Image | npt.NDArray[Any]


class Model:
    """A loaded model.

    Args:
        model: as for `inpaint run --model`: models:/NAME@ALIAS, a folder, a `.pt2`, a `.onnx` or a classical method.
        device: of torch, or None for what the machine has.

    Attributes:
        report: of the last call of `fill`, as in `inpaint run --report`: `scale`, `detail`, `warnings` and others.

    Raises:
        InputError: there is no such model, or it cannot be loaded.
    """

    def __init__(self, model: str = DEFAULT_MODEL, device: str | None = None) -> None:
        self._inpainter = open_inpainter(model, device)
        self.report: dict[str, Any] = {}

    def fill(self, image: Picture, mask: Picture, mask_is: HoleIs = "white", **settings: Any) -> Image.Image:
        """Fill the missing pixels of one picture.

        Args:
            image: a file, which is turned upright; or a Pillow image, or an array uint8 (H, W), (H, W, 3) or (H, W, 4)
                in grey, RGB or RGBA, which are not turned.
            mask: of the size of `image`: a file, a Pillow image or an array uint8 (H, W), white (128 and above) where
                pixels are missing; or an array (H, W) of bool or of 0 and 1, True or 1 where pixels are missing.
            mask_is: the colour that means missing in mask pictures.
            settings: `grow`, `feather`, `context`, `max_side` and `detail` of `stages.inpainting.cropping.Settings`.

        Returns:
            an image of the size, mode and colour profile of `image`; known pixels are unchanged.

        Raises:
            BadImageError: a picture cannot be read or used, or the two differ in size.
            ValueError: a setting is out of range, or an array has another shape or type.
        """
        filled, self.report = fill(_photo(image), _mask(mask, mask_is), self._inpainter, Settings(**settings))
        return as_pillow(filled)


def _photo(image: Picture) -> Photo:
    return read_photo(image if isinstance(image, (str, Path)) else _file(image), MAX_MEGAPIXELS)


def _mask(mask: Picture, mask_is: HoleIs) -> UserMask:
    if isinstance(mask, np.ndarray) and mask.ndim == 2 and mask.size and mask.max() <= 1:
        return with_warnings(mask.astype(np.float32) >= 0.5, "array")
    return read_hole(mask if isinstance(mask, (str, Path)) else _file(mask), mask_is, MAX_MEGAPIXELS)


def _file(picture: Image.Image | npt.NDArray[Any]) -> bytes:
    """Return the content of an uncompressed TIFF, so that all inputs are decoded by the same code."""
    if isinstance(picture, np.ndarray):
        dtype, shape = picture.dtype, picture.shape
        if dtype != np.uint8 or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))):
            raise ValueError(f"an array should be uint8 (H, W), (H, W, 3) or (H, W, 4), but is {dtype} {shape}")
        picture = Image.fromarray(picture)
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    picture.save(content := BytesIO(), "TIFF", compression="raw", icc_profile=picture.info.get("icc_profile"), exif=b"")
    return content.getvalue()
