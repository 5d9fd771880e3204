"""Fill holes from Python: takes files, Pillow images or arrays, returns a Pillow image.

from stages.serving.python_api import Model

model = Model()                                   # the champion; or a folder, a .onnx, "telea", ...
model.fill("photo.jpg", "mask.png").save("filled.png")
"""

from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from stages.imaging.photos import Photo, as_pillow, read_photo
from stages.imaging.user_mask import HoleIs, UserMask, is_text, mask_of, with_warnings
from stages.inpainting.cropping import Settings
from stages.inpainting.photo import fill
from stages.serving.batch import MAX_MEGAPIXELS
from stages.serving.models import open_inpainter
from stages.serving.registered import DEFAULT_MODEL

Picture: TypeAlias = str | Path | bytes | BinaryIO | Image.Image | npt.NDArray[Any]


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

    def __init__(self, model: str | Path = DEFAULT_MODEL, device: str | None = None) -> None:
        self._inpainter = open_inpainter(str(model), device)
        self.report: dict[str, Any] = {}

    def fill(self, image: Picture, mask: Picture, mask_is: HoleIs = "white", **settings: Any) -> Image.Image:
        """Fill the missing pixels of one picture.

        Args:
            image: a path, a file opened in binary mode or its content, which is turned upright; or a Pillow image, or
                an array uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) in grey, RGB or RGBA, which are not turned.
            mask: of the size of `image`: a file or a Pillow image as for `image`, or an array (H, W) or (H, W, 1) from
                0 to 255, white (128 and above) where pixels are missing; or such an array of bool or from 0 to 1, True
                or 1 where pixels are missing; or text as for `inpaint run`: "alpha", or boxes "10,10,60,60 ...".
            mask_is: the colour that means missing in mask pictures.
            settings: `grow`, `feather`, `context`, `max_side` and `detail` of `stages.inpainting.cropping.Settings`.

        Returns:
            an image of the size, mode and colour profile of `image`; known pixels are unchanged.

        Raises:
            InputError: a picture cannot be read or used, the two differ in size, or a box is not within the picture.
            TypeError: `image` or `mask` is no picture.
            ValueError: a setting is out of range, or an array has another shape or type.
        """
        if mask_is not in get_args(HoleIs):
            raise ValueError(f"`mask_is` should be {' or '.join(map(repr, get_args(HoleIs)))}, but is {mask_is!r}")
        photo = read_photo(_file(image, "image"), MAX_MEGAPIXELS)
        filled, self.report = fill(photo, _mask(mask, photo, mask_is), self._inpainter, Settings(**settings))
        return as_pillow(filled)


def _file(picture: Picture, name: str) -> Path | bytes:
    """Return a path or a file's content; images become an uncompressed TIFF, so that the same code decodes all inputs.

    Raises:
        TypeError: it is no picture.
        ValueError: an array has another shape or type.
    """
    if isinstance(picture, (str, Path, bytes)):
        return Path(picture) if isinstance(picture, str) else picture
    if hasattr(picture, "read") and isinstance(content := picture.read(), bytes):
        return content
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(_checked(picture, name))
    if not isinstance(picture, Image.Image):
        kinds = "a path, the content of a file, a file opened in binary mode, a Pillow image or an array"
        raise TypeError(f"`{name}` should be {kinds}, but is {type(picture).__name__}")
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    picture.save(content := BytesIO(), "TIFF", compression="raw", icc_profile=picture.info.get("icc_profile"), exif=b"")
    return content.getvalue()


def _checked(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    array = _flat(array)
    if name == "mask" and array.ndim == 2 and array.size and array.min() >= 0 and array.max() <= 255:
        array = array.astype(np.uint8)
    shape = array.shape
    if array.dtype != np.uint8 or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))):
        wanted = "of 0 and 1, or from 0 to 255, (H, W)" if name == "mask" else "uint8 (H, W), (H, W, 3) or (H, W, 4)"
        raise ValueError(f"`{name}` as an array should be {wanted}, but is {array.dtype} {shape}")
    return array


def _flat(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _mask(mask: Picture, photo: Photo, mask_is: HoleIs) -> UserMask:
    if isinstance(mask, np.ndarray) and mask.size and mask.max() <= 1 and mask.min() >= 0:
        flat = _flat(mask)
        if flat.ndim == 2:
            return with_warnings(flat.astype(np.float32) >= 0.5, "array")
    given = mask if isinstance(mask, str) and is_text(mask) else _file(mask, "mask")
    return mask_of(photo, given, mask_is, MAX_MEGAPIXELS)
