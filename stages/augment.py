"""Alter copies of the training tiles by Albumentations: reads data/prepared/train, writes data/augmented.

    python -m stages.augment

`train/` holds the tiles, all first copies, then all second ones, ...; row for row `manifest.parquet` says of each its
`source_row` among the prepared training tiles, its `copy`, and as JSON which transforms were applied and what they
drew. With `copies: 0` there are none, and who trains on augmented tiles too trains on the prepared ones alone.

What a tile draws is seeded from (seed, source row, copy), so it depends neither on the number of workers nor on the
number of copies.
"""

import inspect
import json
import math
import os
import random
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
import pandas as pd
from pydantic import Field

from stages.pictures.shards import Pixels, Tiles, write_tiles
from stages.running import guard
from stages.running.errors import ParamsError
from stages.running.files import fresh_folder, write_parquet
from stages.running.parallel import map_ordered
from stages.running.params import Settings, read, read_seed
from stages.running.say import say

SOURCE, OUT = "data/prepared/train", "data/augmented"

# What keeps the size of a tile, and needs nothing but the tile.
TRANSFORMS = (
    "Affine", "Blur", "CLAHE", "ChannelShuffle", "ColorJitter", "D4", "Defocus", "ElasticTransform", "Emboss",
    "GaussNoise", "GaussianBlur", "GridDistortion", "HorizontalFlip", "HueSaturationValue", "ISONoise",
    "ImageCompression", "MedianBlur", "MotionBlur", "MultiplicativeNoise", "OpticalDistortion", "Perspective",
    "Posterize", "RGBShift", "RandomBrightnessContrast", "RandomGamma", "RandomResizedCrop", "RandomRotate90",
    "Rotate", "SafeRotate", "Sharpen", "ShotNoise", "Solarize", "ToGray", "Transpose", "UnsharpMask", "VerticalFlip",
)  # fmt: skip

_CHUNK_BYTES = 4 * 2**20  # of tiles in one piece of work; some pieces per worker are in memory at once
_COLUMNS = {"id": "str", "source_row": "int64", "copy": "int64", "transforms": "str"}
_NOT_DRAWN = {"shape", "output_shape", "interpolation", "fill", "fill_mask", "bbox_matrix"}
_LARGEST_LISTED = 16  # numbers of an array; of a larger one, such as noise for every pixel, mean and deviation are said


class AugmentParams(Settings):
    """`augment` in params.yaml."""

    copies: int = Field(ge=0)
    transforms: list[dict[str, Any]] = Field(min_length=1)


def build(transforms: Sequence[Mapping[str, Any]], size: int) -> Any:
    """Make an `albumentations.Compose` that remembers what it drew.

    Args:
        transforms: `name` and the arguments of each, in the order in which they are applied. Where a transform looks
            beyond the tile's edge, the tile is mirrored there, unless `border_mode` says otherwise.
        size: side of the tiles in pixels.

    Raises:
        ParamsError: a name or an argument is unknown, or a value is refused.
    """
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else the import asks the internet for a newer version
    import albumentations

    made = [_make(albumentations, number, dict(arguments), size) for number, arguments in enumerate(transforms)]
    return albumentations.Compose(made, save_applied_params=True)


def _make(albumentations: Any, number: int, arguments: dict[str, Any], size: int) -> Any:
    name = arguments.pop("name", None)
    if name not in TRANSFORMS:
        raise ParamsError(
            f"params.yaml: `augment.transforms.{number}` is called {name!r}; possible are {', '.join(TRANSFORMS)}"
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
        with warnings.catch_warnings(action="error"):  # a value that is not understood is else replaced, with a warning
            transform = kind(**arguments)
        changed = transform(image=np.zeros((size, size, 3), np.uint8), force_apply=True)["image"]
    except (ValueError, TypeError, Warning, cv2.error) as error:
        raise ParamsError(f"{where}, cannot be made of {arguments}: {' '.join(str(error).split())}") from None
    if changed.shape != (size, size, 3):
        raise ParamsError(
            f"{where}, changes the size of tiles from {size} to {changed.shape[:2]}; leave out {arguments}"
        )
    return transform


def alter(compose: Any, tile: Pixels, seed: int) -> tuple[Pixels, str]:
    """Apply the transforms to a tile.

    Args:
        compose: from `build`.
        tile: uint8 (S, S, 3).
        seed: of everything that is drawn.

    Returns:
        the altered tile, uint8 (S, S, 3), and as JSON a list of the transforms that were applied, each with its `name`
        and the numbers that it drew, floats to six digits.
    """
    # Not `set_random_seed`: it gives each transform a generator of its own with the same seed. All then draw the same
    # numbers, and the rarer ones are only ever applied together with all that are more frequent.
    compose.set_random_state(np.random.default_rng(seed), random.Random(seed))  # noqa: S311 - nothing is kept secret
    result = compose(image=tile)
    drawn = [{"name": name, **_said(numbers)} for name, numbers in result["applied_transforms"]]
    return np.asarray(result["image"], np.uint8), json.dumps(drawn)


def _said(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _said(entry) for key, entry in value.items() if key not in _NOT_DRAWN}
    if isinstance(value, np.ndarray) and value.size > _LARGEST_LISTED:
        return {"mean": _said(value.mean()), "std": _said(value.std())}
    if isinstance(value, np.ndarray | list | tuple):
        return [_said(entry) for entry in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}")
    return value if isinstance(value, int | str | None) else int(value)


def altered_tiles(
    transforms: Sequence[Mapping[str, Any]], copies: int, seed: int, source: str = SOURCE
) -> Iterator[tuple[Pixels, dict[str, Any]]]:
    """Yield every altered tile with its row of the manifest, copy by copy, in the order of the sources.

    Args:
        transforms: as for `build`.
        copies: of every tile.
        seed: of the whole pipeline.
        source: folder of tiles.
    """
    tiles = Tiles([source])
    chunk = math.ceil(_CHUNK_BYTES / (3 * tiles.size**2))
    starts = range(0, len(tiles), chunk)
    work = [(copy, range(start, min(start + chunk, len(tiles)))) for copy in range(copies) for start in starts]
    for done in map_ordered(partial(_alter_some, transforms, seed, source), work, "augment", unit="chunk"):
        yield from done


def _alter_some(
    transforms: Sequence[Mapping[str, Any]], seed: int, source: str, work: tuple[int, range]
) -> list[tuple[Pixels, dict[str, Any]]]:
    cv2.setNumThreads(1)  # the processes share the cores already
    copy, rows = work
    tiles = Tiles([source])
    compose = build(transforms, tiles.size)
    done = []
    for row, tile in zip(rows, tiles.gather(np.asarray(rows)), strict=True):
        own_seed = int(np.random.SeedSequence([seed, *b"augment", row, copy]).generate_state(1)[0])
        altered, drawn = alter(compose, tile, own_seed)
        done.append((altered, {"id": f"{row:06d}-{copy}", "source_row": row, "copy": copy, "transforms": drawn}))
    return done


def main() -> None:
    """Read params, alter the tiles, write them and say how many there are."""
    seed, params = read_seed(), read("augment", AugmentParams)
    records: list[dict[str, Any]] = []

    def pixels() -> Iterator[Pixels]:
        for tile, record in altered_tiles(params.transforms, params.copies, seed):
            records.append(record)
            yield tile

    started = time.perf_counter()
    with fresh_folder(OUT) as folder:
        total = write_tiles(folder / "train", pixels())
        write_parquet(folder / "manifest.parquet", pd.DataFrame(records, columns=list(_COLUMNS)).astype(_COLUMNS))
    speed = total / (time.perf_counter() - started)
    say(f"augment: {total:,} altered tiles in {OUT}, {params.copies} of every training tile; {speed:,.0f} a second")


if __name__ == "__main__":
    sys.exit(guard.run("augment", main))
