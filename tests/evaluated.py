"""A small working tree as `prepare`, `masks` and two trainings leave it, ready to be evaluated and reported on."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from torch import Tensor, nn

from stages import pair
from stages.evaluate.__main__ import main as evaluate
from stages.imaging.holes import BUCKETS, pack
from stages.imaging.shards import write_tiles
from stages.inpainting import classical, exported

SIDE = 16
PHOTOS = 5
PHOTOGRAPH = (40, 56)  # height, width
PARAMS = f"""\
seed: 7
methods:
  mean: {{filled_by: {classical.__file__}}}
  telea: {{filled_by: {classical.__file__}}}
  grey_net: {{filled_by: data/models/grey_net/model.pt2}}
pairs: {{per_cell: 3, gallery: 12}}
evaluate: {{perceptual: true, critic: 0, lpips: false, fid: false, photographs: true, worst: 2}}
"""
METHODS = ("mean", "telea", "grey_net")


class GreyNet(nn.Module):
    """Answers grey, whatever it is asked."""

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        return 0 * image + 0 * hole + 0.5


def make_tiles(folder: Path) -> pd.DataFrame:
    """Write test tiles of several photos, smooth colours with a little grain, and return their manifest."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    tiles, manifest = [], []
    for photo in range(PHOTOS):
        for number in range(photo + 1):  # photos have different numbers of tiles
            smooth = np.stack([40 * photo + 4 * rows, 200 - 5 * columns, 90 + 2 * (rows + columns)], axis=2)
            tiles.append((smooth + rng.integers(0, 5, smooth.shape)).astype(np.uint8))
            manifest.append({"id": f"{photo}-{number}", "split": "test", "photo": f"photo{photo}"})
    write_tiles(folder / "test", tiles)
    table = pd.DataFrame([{"id": "elsewhere", "split": "train", "photo": "other"}, *manifest])
    table.to_parquet(folder / "manifest.parquet")
    return table[table["split"] == "test"].reset_index(drop=True)


def make_mask_set(folder: Path, per_cell: int = 2) -> pd.DataFrame:
    """Write a mask set with a few holes in every cell of hole ratio and border, and return its table."""
    holes, rows = [], []
    for bucket, (low, high) in enumerate(BUCKETS):
        for border in (False, True):
            for number in range(per_cell):
                hole = np.zeros(SIDE * SIDE, np.uint8)
                count = round((low + high) / 2 * SIDE * SIDE) + number
                start = 0 if border else 2 * SIDE + 3  # what `border` says is all that counts here, not where holes are
                hole[start : start + count] = 1
                holes.append(hole.reshape(SIDE, SIDE))
                rows.append({"kind": "boxes", "ratio": hole.mean(), "bucket": bucket, "border": border})
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "test.npy", pack(np.stack(holes)))
    table = pd.DataFrame(rows)
    table.to_parquet(folder / "test.parquet")
    return table


def make_photographs(folder: Path) -> pd.DataFrame:
    """Write whole photographs of two sizes, each with two holes, as the stage leaves them, and return their table."""
    rng = np.random.default_rng(2)
    table = []
    for part in ("images", "holes"):
        (folder / part).mkdir(parents=True)
    for number, (kind, photo) in enumerate([("box", 0), ("stroke", 1), ("box", 1), ("stroke", 0)]):
        h, w = PHOTOGRAPH if photo else PHOTOGRAPH[::-1]
        rows, columns = np.mgrid[:h, :w]
        smooth = np.stack([90 + 40 * photo + rows, 200 - columns, 90 + 0 * rows], axis=2)
        hole = np.zeros((h, w), np.uint8)
        hole[12 : 20 + 4 * number, 10:30] = 1
        name = f"{kind}-photo{photo}"
        Image.fromarray((smooth + rng.integers(0, 9, smooth.shape)).astype(np.uint8)).save(
            folder / f"images/{name}.png"
        )
        Image.fromarray(255 * hole).save(folder / f"holes/{name}.png")
        facts = {"id": name, "photo": f"photo{photo}", "source": f"{photo}.jpg", "kind": kind, "ratio": hole.mean()}
        table.append(facts | {"shown": number < 2, "sha256": f"{number:016x}"})
    pd.DataFrame(table).to_csv(folder / "photographs.csv", index=False)
    return pd.DataFrame(table)


def make_training(folder: Path) -> None:
    """Write the record of a short training."""
    folder.mkdir(parents=True)
    record = {
        "key": folder.name,
        "started_ms": 1_700_000_000_000,
        "ended_ms": 1_700_000_095_000,
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "dirty": True,
        "machine": {"processor": "<fast & small>", "cores": 2},
        "packages": {"torch": "2.14.1"},
        "params": {"seed": 7, "learning_rate": 0.002, "batch_size": 95},
        "inputs": {"data/prepared/train": {"tiles": 9, "digest": "ab" * 32}},
        "summary": {"steps": 40},
    }
    (folder / "record.json").write_text(json.dumps(record))
    steps = range(10, 50, 10)
    history = {"step": steps, "loss": [4.0, 2.0, 1.0, 0.5], "loss_hole": [1, 0.5, 0.25, 0.2]}
    speed = {"lr": [0.002] * 4, "tiles_per_s": [30.0, 40, 40, 50], "data_wait": [0.01] * 4}
    pd.DataFrame({**history, **speed}).to_csv(folder / "history.csv", index=False)
    pd.DataFrame({"step": [20, 40], "val_hole_psnr": [14.0, 15.5]}).to_csv(folder / "validation.csv", index=False)


def make_pairs(folder: Path) -> None:
    """Write what pairing reads, and the pairs."""
    (folder / "params.yaml").write_text(PARAMS)
    make_tiles(folder / "data/prepared")
    make_mask_set(folder / "data/masks")
    with contextlib.chdir(folder):
        pair.main()


def make_project(folder: Path) -> None:
    """Write everything that evaluation and report read."""
    make_pairs(folder)
    make_photographs(folder / "data/photographs")
    exported.save(GreyNet(), folder / "data/models/grey_net/model.pt2", 2, {"key": "grey_net"})
    make_training(folder / "data/training/grey_net")


def evaluate_all(patch: pytest.MonkeyPatch) -> None:
    """Score every method of the project that is the working directory."""
    patch.setenv("INPAINT_DEVICE", "cpu")
    patch.setenv("INPAINT_WORKERS", "1")
    for key in METHODS:
        evaluate(key)
