"""Exports the fixed pairs for other tools, and reads their answers.

    DIR/images/30b0007.png      the picture with a black hole
    DIR/holes/30b0007.png       white where pixels are missing
    DIR/pairs.csv               data/pairs.csv without row numbers
    DIR/photographs/            the same for whole photographs: images, holes, photographs.csv

Targets are not exported, so that no tool can use them. An answer is a picture of the same size under the name of the
pair; its known pixels are replaced before it is scored, except for the scores `raw_*`.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from stages.imaging.holes import MaskSet
from stages.imaging.images import load_image, save_png
from stages.imaging.shards import Tiles
from stages.runtime import files
from stages.runtime.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm")
_MEGAPIXELS = 100
_CHUNK = 256

Floats = npt.NDArray[np.float32]


def export_pairs(folder: Path, pairs: pd.DataFrame, tiles: Tiles, mask_set: MaskSet) -> None:
    """Write the pairs as pictures.

    Args:
        folder: for the files listed above; other files in it are kept.
        pairs: data/pairs.csv.
        tiles: the test tiles.
        mask_set: the test holes.
    """
    for part in ("images", "holes"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for start in range(0, len(pairs), _CHUNK):
        chunk = pairs.iloc[start : start + _CHUNK]
        targets, holes = tiles.gather(chunk["tile_row"].to_numpy()), mask_set.gather(chunk["hole_row"].to_numpy())
        for name, target, hole in zip(chunk["pair"], targets, holes, strict=True):
            save_png(folder / "images" / f"{name}.png", target * (1 - hole[..., None]))
            Image.fromarray(255 * hole).save(folder / "holes" / f"{name}.png")
    files.write_csv(folder / "pairs.csv", pairs.drop(columns=["tile_row", "hole_row", "shown"]))


def export_photographs(folder: Path, questions: pd.DataFrame, made: Path) -> None:
    """Write the photographs of the photograph test with black holes.

    Args:
        folder: for `images/ID.png`, `holes/ID.png` and `photographs.csv`; other files in it are kept.
        questions: the list in `made`.
        made: data/photographs.
    """
    for part in ("images", "holes"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name in questions["id"]:
        target, hole = read_question(made, name)
        save_png(folder / "images" / f"{name}.png", target * (1 - hole[..., None]))
        Image.fromarray(255 * hole).save(folder / "holes" / f"{name}.png")
    files.write_csv(folder / "photographs.csv", questions.drop(columns=["shown"]))


def read_question(folder: Path, name: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read a photograph, uint8 (H, W, 3), and its hole, uint8 (H, W), 1 = missing.

    Args:
        folder: data/photographs.
        name: the id.
    """
    target = load_image(folder / "images" / f"{name}.png", _MEGAPIXELS)
    return target, load_image(folder / "holes" / f"{name}.png", _MEGAPIXELS)[..., 0] // 255


def read_answer(folder: Path, name: str, shape: tuple[int, ...]) -> Floats:
    """Read another tool's answer to one pair.

    Args:
        folder: of the answers.
        name: of the pair.
        shape: (H, W) of the pair.

    Returns:
        float32 (H, W, 3) in [0, 1].

    Raises:
        InputError: the picture is missing or damaged, or has another size.
    """
    path = next((found for suffix in SUFFIXES if (found := folder / f"{name}{suffix}").exists()), None)
    if path is None:
        raise InputError(
            f"{folder} has no answer to pair {name}: wanted {name}.png (or {', '.join(SUFFIXES[1:])}); answer every "
            f"picture that `python -m stages.evaluate --export-pairs DIR` wrote, under its own name"
        )
    picture = load_image(path, _MEGAPIXELS)
    if picture.shape[:2] != shape:
        raise InputError(
            f"{path} is {picture.shape[1]} x {picture.shape[0]} pixels, but the pair is {shape[1]} x {shape[0]}; "
            f"answers keep the size of the picture"
        )
    return picture.astype(np.float32) / np.float32(255)
