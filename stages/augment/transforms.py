"""Albumentations transforms by name and arguments, and the random numbers that each drew.

compose = build([{"name": "HorizontalFlip", "p": 0.5}], size=64)
altered, drawn = alter(compose, tile, seed=0)     # uint8 (64, 64, 3) and JSON
"""

import inspect
import json
import os
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from stages.imaging.shards import Pixels
from stages.runtime.errors import ParamsError

# Those that keep the size of a tile and need no other input.
TRANSFORMS = (
    "Affine", "Blur", "CLAHE", "ChannelShuffle", "ColorJitter", "D4", "Defocus", "ElasticTransform", "Emboss",
    "GaussNoise", "GaussianBlur", "GridDistortion", "HorizontalFlip", "HueSaturationValue", "ISONoise",
    "ImageCompression", "MedianBlur", "MotionBlur", "MultiplicativeNoise", "OpticalDistortion", "Perspective",
    "Posterize", "RGBShift", "RandomBrightnessContrast", "RandomGamma", "RandomResizedCrop", "RandomRotate90",
    "Rotate", "SafeRotate", "Sharpen", "ShotNoise", "Solarize", "ToGray", "Transpose", "UnsharpMask", "VerticalFlip",
)  # fmt: skip

_NOT_DRAWN = {"shape", "output_shape", "interpolation", "fill", "fill_mask", "bbox_matrix"}
_LARGEST_LISTED = 16  # numbers of an array that are recorded; of larger ones, such as noise, mean and deviation are


def build(transforms: Sequence[Mapping[str, Any]], size: int) -> Any:
    """Make an `albumentations.Compose` that records what it draws.

    Args:
        transforms: `name` and arguments of each, in order. Beyond its edges a tile is mirrored, unless `border_mode` is
            given.
        size: side of the tiles in pixels.

    Raises:
        ParamsError: a name or an argument is unknown, or a value is invalid.
    """
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # otherwise the import looks online for a newer version
    import albumentations

    made = [_make(albumentations, number, dict(arguments), size) for number, arguments in enumerate(transforms)]
    return albumentations.Compose(made, save_applied_params=True)


def _make(albumentations: Any, number: int, arguments: dict[str, Any], size: int) -> Any:
    name = arguments.pop("name", None)
    if name not in TRANSFORMS:
        raise ParamsError(
            f"params.yaml: `augment.transforms.{number}` has the name {name!r}, but should have one of "
            f"{', '.join(TRANSFORMS)}"
        )
    where = f"params.yaml: `augment.transforms.{number}`, {name}"
    kind = getattr(albumentations, name)
    known = [argument for argument in inspect.signature(kind).parameters if argument != "size"]
    if unknown := set(arguments) - set(known):
        raise ParamsError(f"{where}, has no argument {', '.join(sorted(unknown))}; it has {', '.join(known)}")
    if "border_mode" in known:
        arguments.setdefault("border_mode", cv2.BORDER_REFLECT_101)
    if name == "RandomResizedCrop":
        arguments["size"] = (size, size)
    try:
        with warnings.catch_warnings(action="error"):  # an invalid value would only cause a warning and be replaced
            transform = kind(**arguments)
        changed = transform(image=np.zeros((size, size, 3), np.uint8), force_apply=True)["image"]
    except (ValueError, TypeError, Warning, cv2.error) as error:
        raise ParamsError(f"{where}, does not accept {arguments}: {' '.join(str(error).split())}") from None
    if changed.shape != (size, size, 3):
        raise ParamsError(f"{where}, changes the size of tiles from {size} to {changed.shape[:2]}; remove {arguments}")
    return transform


def alter(compose: Any, tile: Pixels, seed: int) -> tuple[Pixels, str]:
    """Apply the transforms to a tile.

    Args:
        compose: from `build`.
        tile: uint8 (S, S, 3).
        seed: of all random numbers.

    Returns:
        the altered tile, uint8 (S, S, 3), and as JSON the list of applied transforms, each with its `name` and the
        numbers that it drew, floats to six digits.
    """
    # `set_random_seed` would give each transform a generator with the same seed. All would draw the same numbers, and a
    # rare transform would only be applied together with all more frequent ones.
    compose.set_random_state(np.random.default_rng(seed), random.Random(seed))  # noqa: S311 - not for cryptography
    result = compose(image=tile)
    drawn = [{"name": name, **_recorded(numbers)} for name, numbers in result["applied_transforms"]]
    return np.asarray(result["image"], np.uint8), json.dumps(drawn)


def _recorded(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _recorded(entry) for key, entry in value.items() if key not in _NOT_DRAWN}
    if isinstance(value, np.ndarray) and value.size > _LARGEST_LISTED:
        return {"mean": _recorded(value.mean()), "std": _recorded(value.std())}
    if isinstance(value, np.ndarray | list | tuple):
        return [_recorded(entry) for entry in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}")
    return value if isinstance(value, int | str | None) else int(value)
