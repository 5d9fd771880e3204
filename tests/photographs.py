"""Made-up photographs, and a project folder that prepares them."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from stages.imaging.images import save_png

PARAMS: dict[str, Any] = {
    "photos": "photos",
    "table": "",
    "columns": {},
    "split_folders": False,
    "short_sides": [20, 40],
    "max_tiles_per_photo": 9,
    "val_share": 0.3,
    "test_share": 0.3,
    "max_megapixels": 1,
    "near_duplicate_bits": 6,
    "near_duplicate_turns": False,
    "max_reject_share": 0.25,
}


def photo(seed: int, h: int = 40, w: int = 60) -> np.ndarray:
    """A picture with large and small structure; another seed makes one that looks different."""
    rng = np.random.default_rng(seed)
    layers = [rng.integers(0, 256, (n, n, 3), np.uint8) for n in (3, 6, 12)]
    sized = [np.asarray(Image.fromarray(layer).resize((w, h), Image.Resampling.BICUBIC), float) for layer in layers]
    return np.average(sized, axis=0, weights=[4, 2, 1]).astype(np.uint8)


def write_params(**changes: Any) -> None:
    """Write params.yaml; what is not changed stands as in `PARAMS`."""
    top = {key: changes.pop(key) for key in ("seed", "tile_size") if key in changes}
    Path("params.yaml").write_text(yaml.safe_dump({"seed": 7, "tile_size": 16, **top, "prepare": PARAMS | changes}))


def write_photos(folder: str, seeds: range) -> None:
    """Write a photograph a seed."""
    for seed in seeds:
        save_png(f"{folder}/{seed:03d}.png", photo(seed))


def contents(folder: str = "data/prepared") -> dict[str, bytes]:
    """All files of a folder, by their path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*.*"))}


def shards() -> dict[str, bytes]:
    """The shards that were prepared, by their path."""
    return {name: content for name, content in contents().items() if name.endswith(".npy")}
