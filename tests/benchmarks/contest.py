"""All four models on larger tiles, each trained for so many seconds, and biharmonic inpainting, on the same pairs.

    python -m tests.benchmarks.contest folder --seconds 600          # the settings of profiles/gpu.yaml

Training is the pipeline's own, but for the export; how many steps fill the time is measured first. Scores are of the
composites of held-out pairs (strokes and boxes in turn, 5 to 50 % missing): hole PSNR, its paired difference to
biharmonic inpainting, sharpness in the hole (1 = the target's) and the perceptual distance.
"""

import argparse
import os
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from stages.augment.__main__ import seed_of
from stages.augment.transforms import alter, build
from stages.evaluate.perceptual import Distance
from stages.evaluate.scores import Answer, score
from stages.imaging.shards import Tiles, write_tiles
from stages.inpainting import classical
from stages.pconv.module import PConvModule, PConvSettings
from stages.pix2pix.module import Pix2PixModule, Pix2PixSettings
from stages.runtime import machine, profile
from stages.runtime.parallel import map_ordered
from stages.training import trainer
from tests.benchmarks.held_out import SEED, Pixels, Sizes, make_project, pairs, read_photos
from tests.clone import ROOT

BATCH = 16
KINDS: dict[str, Any] = {"pconv": (PConvSettings, PConvModule), "pix2pix": (Pix2PixSettings, Pix2PixModule)}
TRIALS = (20, 80)  # steps


def profiled(name: str) -> dict[str, Any]:
    """Read params.yaml with a profile laid over, in which what is said of `unet` holds for both `pconv`, too."""
    with tempfile.TemporaryDirectory() as folder:
        path = shutil.copy2(ROOT / "params.yaml", folder)
        print(*profile.apply(name, path), sep="\n")
        content: dict[str, Any] = yaml.safe_load(Path(path).read_text())
        return content


def settings_for(section: dict[str, Any], steps: int) -> dict[str, Any]:
    """Take a model's settings at another length, its parts in proportion."""
    finetune = section.get("finetune_steps", 0)
    part = steps * finetune // (section["steps"] + finetune)
    changes = {"steps": steps - part, "validate_every": steps, "checkpoint_every_s": 1e6}
    if finetune:
        changes["finetune_steps"] = part
    if "decay_steps" in section:
        changes["decay_steps"] = steps * section["decay_steps"] // section["steps"]
    return section | changes


def fit(key: str, code: str, section: dict[str, Any], steps: int) -> tuple[nn.Module, float]:
    """Train a model for so many steps; return the network, on the machine's device, and the seconds that it took."""
    content = yaml.safe_load(Path("params.yaml").read_text())
    content["train"][key] = settings_for(section, steps)
    Path("params.yaml").write_text(yaml.safe_dump(content))
    trained: list[nn.Module] = []

    def keep(_about: Any, module: Any, _levels: int, progress: Any, _record: Any) -> None:
        module.trained.load_state_dict(progress.best)
        trained.append(module.trained)

    trainer._write = keep  # no export: it takes as long here as a short training
    trainer.MIRROR = "stages.runtime.log"  # no live view: its process takes time
    start = time.perf_counter()
    trainer.train(key, *KINDS[code])
    seconds = time.perf_counter() - start
    return trained[0].to(machine.device()).eval(), seconds


def augment(params: dict[str, Any], copies: int, tile: int) -> None:
    """Write altered copies of the tiles, as the stage does."""
    tiles = Tiles(["data/prepared/train"])
    altered = map_ordered(
        partial(_altered, params["transforms"], tile),
        [(row, copy) for copy in range(copies) for row in range(len(tiles))],
        "augment",
    )
    write_tiles("data/augmented/train", altered)


def _altered(transforms: Any, tile: int, what: tuple[int, int]) -> Pixels:
    row, copy = what
    (pixels,) = Tiles(["data/prepared/train"]).gather(np.array([row]))
    return alter(build(transforms, tile), pixels, seed_of(pixels, copy, SEED))[0]


def fill(network: nn.Module, images: Pixels, holes: Pixels) -> np.ndarray[Any, Any]:
    """Answer all pairs: float32 (N, H, W, 3)."""
    answers = []
    for first in range(0, len(images), BATCH):
        image = torch.from_numpy(images[first : first + BATCH]).permute(0, 3, 1, 2).float().to(machine.device()) / 255
        hole = torch.from_numpy(holes[first : first + BATCH])[:, None].float().to(machine.device())
        with torch.inference_mode():
            answers.append(network(image, hole).clamp(0, 1).float().cpu())
    return torch.cat(answers).permute(0, 2, 3, 1).numpy()


def report(name: str, filled: np.ndarray[Any, Any], targets: Pixels, holes: Pixels, rival: Any) -> np.ndarray[Any, Any]:
    """Print a row of the table; return the hole PSNR of each pair."""
    scores = [score(Answer(*answer)) for answer in zip(targets, holes, filled, strict=True)]
    psnr = np.array([each["hole_psnr"] for each in scores])
    ahead = psnr - (psnr if rival is None else rival)
    floats = targets.astype(np.float32) / 255
    composites = np.where(holes[..., None] > 0, filled, floats).astype(np.float32)
    distance = Distance(machine.device())
    far = [
        value
        for first in range(0, len(targets), BATCH)
        for value in distance(*(each[first : first + BATCH] for each in (composites, floats, holes)))
    ]
    print(
        f"| {name} | {psnr.mean():.2f} | {ahead.mean():+.2f} ± {1.96 * ahead.std() / len(psnr) ** 0.5:.2f} "
        f"| {np.mean([each['sharpness'] for each in scores]):.2f} | {np.mean(far):.3f} |",
        flush=True,
    )
    return psnr


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--profile", default="gpu")
    parser.add_argument("--short-side", type=int, default=288)
    parser.add_argument("--pairs", type=int, default=128)
    parser.add_argument("--crops", type=int, default=4, help="tiles of each photograph")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of all four models")
    given = parser.parse_args()
    params = profiled(given.profile)
    changes = {name: yaml.safe_load(value) for name, _, value in (pair.partition("=") for pair in given.set)}
    sizes = Sizes(params["tile_size"], given.short_side, given.crops, given.pairs)
    to_train, to_score = read_photos(given.photos.resolve(), sizes)
    print(f"{len(to_train)} photographs to train on, {len(to_score)} to score on, {machine.describe()}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DVC_ROOT"] = folder
        os.chdir(folder)
        sections = {
            key: params["train"][key] | {k: v for k, v in changes.items() if k in params["train"][key]}
            for key in params["models"]
        }
        make_project(Path(folder), to_train, sizes, params["models"], sections)
        augment(params["augment"], 1, sizes.tile)
        targets, holes = pairs(to_score, sizes)
        images = targets * (1 - holes)[..., None]
        print(
            "| method | hole PSNR, dB | to biharmonic, dB | sharpness | perceptual |\n|---|---|---|---|---|", flush=True
        )
        both = list(zip(images, holes, strict=True))
        rival = report("biharmonic", np.stack(list(map_ordered(_biharmonic, both, "biharmonic"))), targets, holes, None)
        report("harmonic", np.stack(list(map_ordered(_harmonic, both, "harmonic"))), targets, holes, rival)
        for key, entry in params["models"].items():
            code = entry["code"]
            fit(key, code, sections[key], TRIALS[0])  # untimed: the first one chooses algorithms, too
            trial = [fit(key, code, sections[key], steps)[1] for steps in TRIALS]
            a_step = (trial[1] - trial[0]) / (TRIALS[1] - TRIALS[0])
            steps = max(20, round((given.seconds - trial[0]) / a_step))
            network, seconds = fit(key, code, sections[key], steps)
            report(f"{key}, {steps} steps in {seconds:.0f} s", fill(network, images, holes), targets, holes, rival)


def _biharmonic(pair: tuple[Pixels, Pixels]) -> np.ndarray[Any, Any]:
    return classical.fill("biharmonic", *pair)


def _harmonic(pair: tuple[Pixels, Pixels]) -> np.ndarray[Any, Any]:
    return classical.fill("harmonic", *pair)


if __name__ == "__main__":
    main()
