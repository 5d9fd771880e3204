"""What tests are made of: photographs, tiles, mask sets, small models, and project folders that hold them."""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

from stages.imaging.holes import BUCKETS, pack
from stages.imaging.images import save_png
from stages.imaging.shards import write_tiles
from stages.inpainting import classical, exported, onnx_export
from stages.runtime.files import write_json
from stages.training.settings import START, START_FILE

TILE = 16
BASE = "data/base.safetensors"
UNET = {
    "start_from": "none", "decay_steps": 0, "hole_perceptual_weight": 0.0, "repetition_weight": 0.0,
    "partial": False, "width": 4, "levels": 2, "batch_size": 4, "steps": 6, "learning_rate": 1e-3,
    "finetune_steps": 2, "finetune_learning_rate": 1e-4, "ema_decay": 0.9, "valid_weight": 1.0, "hole_weight": 6.0,
    "harmonic_residual": False,
    "perceptual_weight": 0.0, "style_weight": 0.0, "tv_weight": 0.1, "features": "efficientnet_lite1",
    "validate_every": 3, "patience": 0, "checkpoint_every_s": 1e-6, "clip_norm": 10.0,
}  # fmt: skip
PIX2PIX = {
    "start_from": "none", "hole_perceptual_weight": 0.0, "harmonic_residual": True,
    "width": 4, "levels": 2, "discriminator_width": 4, "discriminator_layers": 1, "norm": "batch",
    "infer_norm": "running", "infer_dropout": False, "mirrored_texture": True,
    "objective": "vanilla", "judges_holes": False, "gan_weight": 1.0,
    "l1_weight": 100.0, "repetition_weight": 1.0, "discriminator_learning_rate": 2e-4, "batch_size": 4,
    "steps": 8, "learning_rate": 2e-4, "decay_steps": 2, "ema_decay": 0.9, "validate_every": 3, "patience": 0,
    "checkpoint_every_s": 1e-6, "clip_norm": 10.0,
}  # fmt: skip
PREPARE: dict[str, Any] = {
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
PHOTOS = 5
PHOTOGRAPH = (40, 56)  # height, width
METHODS = ("mean", "telea", "grey_net")
EVALUATION = f"""\
seed: 7
methods:
  mean: {{filled_by: {classical.__file__}}}
  telea: {{filled_by: {classical.__file__}}}
  grey_net: {{filled_by: data/models/grey_net/model.pt2}}
pairs: {{per_cell: 3, gallery: 12}}
evaluate: {{perceptual: true, critic: 0, lpips: false, fid: false, photographs: true, worst: 2}}
"""


# Photographs, and a folder that is prepared.


def photo(seed: int, h: int = 40, w: int = 60) -> np.ndarray:
    """A picture with large and small structure; another seed makes one that looks different."""
    rng = np.random.default_rng(seed)
    layers = [rng.integers(0, 256, (n, n, 3), np.uint8) for n in (3, 6, 12)]
    sized = [np.asarray(Image.fromarray(layer).resize((w, h), Image.Resampling.BICUBIC), float) for layer in layers]
    return np.average(sized, axis=0, weights=[4, 2, 1]).astype(np.uint8)


def write_params(**changes: Any) -> None:
    """Write params.yaml; what is not changed stands as in `PREPARE`."""
    top = {key: changes.pop(key) for key in ("seed", "tile_size") if key in changes}
    Path("params.yaml").write_text(yaml.safe_dump({"seed": 7, "tile_size": 16, **top, "prepare": PREPARE | changes}))


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


# Models.


class GreyNet(nn.Module):
    """Answers grey, whatever it is asked."""

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        return 0 * image + 0 * hole + 0.5


class Blur(nn.Module):
    """Answers with a blur of the image through a learnt-like kernel, so that an answer depends on every pixel near."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(4, 3, 5, padding=2, stride=1)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.mix.weight.copy_(torch.rand(self.mix.weight.shape, generator=generator) / 50)
            self.mix.bias.zero_()

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        small = nn.functional.avg_pool2d(torch.cat([image, hole], dim=1), 4)
        return self.mix(nn.functional.interpolate(small, scale_factor=4.0))


class Dropping(Blur):
    """A blur that drops out at test time, as Pix2Pix may."""

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(image, hole), training=True)


def write_dropping(folder: Path) -> None:
    """Export a network that drops out at test time as `model.pt2`, and as `model.onnx` without."""
    write_network(folder, Dropping(0), key="pix2pix")


def write_network(folder: Path, network: nn.Module, **facts: Any) -> None:
    """Export a network of two levels as `model.pt2` and `model.onnx`, as a training does."""
    saved = exported.save(network, folder / "model.pt2", levels=2, facts=facts)
    onnx_export.export(network, saved, folder / "model.onnx")


def write_model(folder: Path, seed: int = 0) -> str:
    """Export a small network as `model.pt2` and `model.onnx`; return the SHA-256 of the first."""
    for name, content in _model(seed).items():
        (folder / name).write_bytes(content)
    return hashlib.sha256(_model(seed)["model.pt2"]).hexdigest()


@cache
def _model(seed: int) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as place:
        write_network(Path(place), Blur(seed), key="pconv")
        return {path.name: path.read_bytes() for path in Path(place).iterdir()}


# A project that trains.


def without_export(set_attribute: Callable[[Any, str, Any], object] = setattr) -> None:
    """Leave the export out of trainings: it has tests of its own, and takes most of the time of one this short.

    Args:
        set_attribute: `setattr` for a whole process, pytest's `monkeypatch.setattr` for a test.
    """
    from stages.training import trainer

    set_attribute(trainer.exported, "save", lambda network, path, *_: path.write_bytes(b"model"))
    set_attribute(trainer.onnx_export, "export", lambda *_: None)


def without_charts(set_attribute: Callable[[Any, str, Any], object] = setattr) -> None:
    """Leave charts out of reports: they have tests of their own, and take most of the time of a stage this small."""
    from stages.imaging.data_report import page as data_page
    from stages.report import page

    set_attribute(data_page, "histogram", lambda *_: "")
    set_attribute(page, "line_chart", lambda *_, **__: "")


def tiny_params() -> dict[str, Any]:
    """Params of the four trainings, as small as they go."""
    prepared, augmented = "data/prepared/train", "data/augmented/train"
    return {
        "seed": 7,
        "tile_size": TILE,
        "models": {
            "unet": {"code": "pconv", "tiles": prepared, "base": BASE},
            "pconv": {"code": "pconv", "tiles": prepared, "base": BASE},
            "pconv_augmented": {"code": "pconv", "tiles": augmented, "base": BASE},
            "pix2pix": {"code": "pix2pix", "tiles": augmented, "base": BASE},
        },
        "criterion": {"score": "hole_psnr", "floor_db": 0.5},
        "train": {
            "unet": dict(UNET),
            "pconv": UNET | {"partial": True, "harmonic_residual": True},
            "pconv_augmented": UNET | {"partial": True},
            "pix2pix": dict(PIX2PIX),
        },
    }


def make_training_project(root: Path, params: dict[str, Any] | None = None) -> Path:
    """Write params, tiles and holes into a folder; what is trained there is real, if small."""
    rng = np.random.default_rng(0)
    (root / "params.yaml").write_text(yaml.safe_dump(params or tiny_params()))
    counts = {"data/prepared/train": 10, "data/prepared/val": 5, "data/prepared/test": 6, "data/augmented/train": 10}
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        write_tiles(root / folder, (smooth_tile(rng) for _ in range(count)))
    for key in (params or tiny_params())["models"]:
        write_json(root / START / key / START_FILE, {"start_from": "none"})
    (root / "data/masks").mkdir(parents=True)
    for split in ("train", "val", "test"):
        holes = np.zeros((7, TILE, TILE), np.uint8)
        for number, hole in enumerate(holes):
            hole[4 : 6 + number, 3:9] = 1
        np.save(root / f"data/masks/{split}.npy", pack(holes))
    return root


def smooth_tile(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """A picture that a network can learn to continue: a gradient between two random colours."""
    start, end = rng.integers(0, 256, (2, 3))
    share = np.linspace(0, 1, TILE)[:, None, None] * np.ones((1, TILE, 1))
    return (start * (1 - share) + end * share).astype(np.uint8)


# A project that is evaluated and reported on.


def make_tiles(folder: Path) -> pd.DataFrame:
    """Write test tiles of several photos, smooth colours with a little grain, and return their manifest."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:TILE, :TILE]
    tiles, manifest = [], []
    for photo in range(PHOTOS):
        for number in range(photo + 1):  # photos have different numbers of tiles
            smooth = np.stack([40 * photo + 4 * rows, 200 - 5 * columns, 90 + 2 * (rows + columns)], axis=2)
            tiles.append((smooth + rng.integers(0, 5, smooth.shape)).astype(np.uint8))
            name = f"photo{PHOTOS - 1 - photo}"  # names are in another order than tiles
            manifest.append({"id": f"{photo}-{number}", "split": "test", "photo": name})
    write_tiles(folder / "test", tiles)
    table = pd.DataFrame([{"id": "elsewhere", "split": "train", "photo": "other"}, *manifest])
    table.to_parquet(folder / "manifest.parquet", index=False, row_group_size=4)
    return table[table["split"] == "test"].reset_index(drop=True)


def make_mask_set(folder: Path, per_cell: int = 2, side: int = TILE) -> pd.DataFrame:
    """Write a mask set with a few holes in every cell of hole ratio and border, and return its table."""
    holes, rows = [], []
    for bucket, (low, high) in enumerate(BUCKETS):
        for border in (False, True):
            for number in range(per_cell):
                hole = np.zeros(side * side, np.uint8)
                count = round((low + high) / 2 * side * side) + number
                start = 0 if border else 2 * side + 3  # what `border` says is all that counts here, not where holes are
                hole[start : start + count] = 1
                holes.append(hole.reshape(side, side))
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
    (folder / "params.yaml").write_text(EVALUATION)
    from stages import pair

    make_tiles(folder / "data/prepared")
    make_mask_set(folder / "data/masks")
    with contextlib.chdir(folder):
        pair.main()


def make_evaluation_project(folder: Path) -> None:
    """Write everything that evaluation and report read."""
    make_pairs(folder)
    make_photographs(folder / "data/photographs")
    exported.save(GreyNet(), folder / "data/models/grey_net/model.pt2", 2, {"key": "grey_net"})
    make_training(folder / "data/training/grey_net")


def evaluate_all(patch: pytest.MonkeyPatch) -> None:
    """Score every method of the project that is the working directory."""
    from stages.evaluate.__main__ import main as evaluate

    patch.setenv("INPAINT_DEVICE", "cpu")
    patch.setenv("INPAINT_WORKERS", "1")
    for key in METHODS:
        evaluate(key)
