"""Photographs cut into tiles to train on and pairs to score on, as the contests of training recipes need them.

    sizes = Sizes(tile=64, short_side=80)
    to_train, to_score = read_photos(folder, sizes)
    targets, holes = pairs(to_score, sizes)

One photograph in nine is kept for scoring, by its content.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from stages.imaging.drawing.mask_spec import MaskSpec, draw_hole
from stages.imaging.holes import pack
from stages.imaging.images import BadImageError, load_image
from stages.imaging.shards import write_tiles
from stages.runtime.files import write_array
from tests.clone import ROOT

HELD_OUT = 9
SEED = 2018
NUM_HOLES, NUM_VALIDATED = 3000, 64

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Sizes:
    """How photographs become tiles: side of a tile and short side of a photograph in pixels, tiles and pairs."""

    tile: int = 64
    short_side: int = 80
    crops_a_photo: int = 40
    num_pairs: int = 300


def read_photos(folder: Path, sizes: Sizes) -> tuple[list[Pixels], list[Pixels]]:
    """Read all photographs of a folder, scaled down: those to train on, and those to score on."""
    kept: tuple[list[Pixels], list[Pixels]] = ([], [])
    for path in sorted(folder.rglob("*")):
        try:
            photo = Image.fromarray(load_image(path, max_megapixels=100))
        except BadImageError:
            continue
        scale = sizes.short_side / min(photo.size)
        size = (max(sizes.short_side, round(photo.width * scale)), max(sizes.short_side, round(photo.height * scale)))
        small = np.asarray(photo.resize(size, Image.Resampling.LANCZOS))
        kept[int(np.random.default_rng(small.ravel()[:999]).integers(HELD_OUT)) == 0].append(small)
    if not all(kept):
        raise SystemExit(f"{folder} has {len(kept[0]) + len(kept[1])} photographs; some twenty are needed")
    return kept


def make_project(folder: Path, photos: list[Pixels], sizes: Sizes, params: dict[str, Any]) -> None:
    """Write params, tiles and holes as the pipeline would.

    Args:
        folder: of the project, which is made.
        photos: to train on.
        sizes: of the tiles.
        params: the sections `models` and `train`; the criterion is that of params.yaml.
    """
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(SEED)
    criterion = yaml.safe_load((ROOT / "params.yaml").read_text())["criterion"]
    params = {"seed": SEED, "criterion": criterion, **params}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    crops = [_crop(photo, sizes.tile, rng) for photo in photos for _ in range(sizes.crops_a_photo)]
    write_tiles(folder / "data/prepared/train", (crops[place] for place in rng.permutation(len(crops))))
    write_tiles(folder / "data/prepared/val", crops[:64])  # looked at, once, by the training; nothing is chosen by it
    for split, count in (("train", NUM_HOLES), ("val", NUM_VALIDATED)):
        holes = _draw_holes(("strokes", "boxes", "blobs"), sizes.tile, count, 0.01, 0.6, rng)
        write_array(folder / f"data/masks/{split}.npy", pack(holes))


def pairs(photos: list[Pixels], sizes: Sizes) -> tuple[Pixels, Pixels]:
    """Cut the held-out tiles, uint8 (N, H, W, 3), and draw their holes, uint8 (N, H, W)."""
    rng = np.random.default_rng([SEED, 1])
    targets = np.stack([_crop(photos[number % len(photos)], sizes.tile, rng) for number in range(sizes.num_pairs)])
    return targets, _draw_holes(("strokes", "boxes"), sizes.tile, sizes.num_pairs, 0.05, 0.5, rng)


def hole_psnr(filled: np.ndarray[Any, Any], targets: Pixels, holes: Pixels) -> np.ndarray[Any, Any]:
    """Score each pair, in dB: all (N, H, W, 3) in [0, 1] but for the targets and holes, (N, H, W)."""
    squares = np.square(filled - targets / 255).sum(3) * holes
    return -10 * np.log10(np.maximum(squares.sum((1, 2)) / (3 * holes.sum((1, 2))), 1e-10))


def _crop(photo: Pixels, tile: int, rng: np.random.Generator) -> Pixels:
    y, x = (int(rng.integers(side - tile + 1)) for side in photo.shape[:2])
    return photo[y : y + tile, x : x + tile]


def _draw_holes(
    kinds: tuple[str, ...], tile: int, count: int, low: float, high: float, rng: np.random.Generator
) -> Pixels:
    """Draw holes of each kind in turn, their ratios spread evenly: uint8 (N, H, W)."""
    ratios = rng.permutation(low + (high - low) * (np.arange(count) + 0.5) / count)
    wanted = [MaskSpec(low, high, ratio, None) for ratio in ratios]
    return np.stack([draw_hole(kinds[n % len(kinds)], (tile, tile), want, rng) for n, want in enumerate(wanted)])
