"""Score one method on the fixed pairs: data/prepared/test x data/masks/test -> data/evaluation/KEY.

    python -m stages.evaluate pconv

Writes `scores.parquet` (one row a pair), `summary.json` (means, for `dvc metrics`), `by_ratio.csv` (means by hole
ratio, for `dvc plots`) and `pictures/` (composites of the pairs that the report shows, named by their row of scores).
"""

import sys
from pathlib import Path

import pandas as pd
from PIL import Image
from pydantic import Field

from stages.evaluate.evaluation import evaluate
from stages.evaluate.filling import choose_filler
from stages.evaluate.means import by_ratio, summarise
from stages.evaluate.pairs import choose_gallery, pair_up
from stages.pictures.holes import Bank
from stages.pictures.shards import Tiles
from stages.running import files, guard
from stages.running.errors import InputError
from stages.running.params import Settings, read, read_seed
from stages.running.say import say


class EvaluateParams(Settings):
    """The section `evaluate` of params.yaml."""

    pairs_per_cell: int = Field(ge=1)
    gallery: int = Field(ge=1)


class MethodParams(Settings):
    """One row of `methods` in params.yaml."""

    filled_by: str


def main(key: str) -> None:
    """Read what one method is scored on, score it, write the scores."""
    seed, params = read_seed(), read("evaluate", EvaluateParams)
    filled_by = read(f"methods.{key}", MethodParams).filled_by
    tiles, bank = Tiles(["data/prepared/test"]), Bank("data/masks/test.npy")
    filler = choose_filler(key, filled_by, tiles.size)
    manifest = pd.read_parquet("data/prepared/manifest.parquet")
    test_tiles = manifest[manifest["split"] == "test"].reset_index(drop=True)
    if len(test_tiles) != len(tiles):
        raise InputError(f"data/prepared has {len(tiles)} test tiles and lists {len(test_tiles)}; run dvc repro")
    if bank.size != tiles.size:
        raise InputError(f"test tiles are {tiles.size} pixels wide, test holes {bank.size}; run dvc repro")
    pairs = pair_up(test_tiles, pd.read_parquet("data/masks/test.parquet"), params.pairs_per_cell, seed)

    scores, pictures = evaluate(filler, tiles, bank, pairs, choose_gallery(pairs, params.gallery))

    out = Path("data/evaluation") / key
    files.write_parquet(out / "scores.parquet", scores)
    files.write_csv(out / "by_ratio.csv", by_ratio(scores))
    with files.fresh_folder(out / "pictures") as folder:
        for row, picture in pictures.items():
            Image.fromarray(picture).save(folder / f"{row:05d}.png")
    summary = summarise(scores)
    files.write_json(out / "summary.json", summary)
    say(f"{key}: hole PSNR {summary['hole_psnr']:.2f} dB, SSIM {summary['ssim']:.4f}, {summary['ms']:.1f} ms a picture")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m stages.evaluate KEY, where KEY is one of `methods` in params.yaml")
    sys.exit(guard.run(f"evaluate@{sys.argv[1]}", lambda: main(sys.argv[1])))
