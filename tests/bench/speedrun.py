"""Quality per minute: train `pconv` for so many minutes, and score it against biharmonic inpainting.

    make speedrun PHOTOS=folder MINUTES=5
    python -m tests.bench.speedrun folder --minutes 5 --set width=48 --set learning_rate=2e-3

Photographs are scaled to 144 pixels on the short side and cut at random into tiles of 128; one in nine is kept for
scoring, by its content. Training is the pipeline's own, with `train.pconv` of params.yaml but for what `--set` says;
how many steps fill the time is measured first. The scores are those of composites on 300 pairs of held-out crop and
hole (strokes and boxes in turn, 5 to 50 % missing): hole PSNR, also less that of biharmonic inpainting on the same
pairs, sharpness, and perceptual distance. A recipe that scores better in the same time on the same machine is better.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml
from PIL import Image

from stages.evaluate import scores
from stages.evaluate.perceptual import Distance
from stages.inpainting import classical, exported
from stages.pconv.module import PConvModule, PConvSettings
from stages.start import provide
from stages.training import trainer
from stages.training.settings import START
from tests.bench.held_out import Pixels, Sizes, hole_psnr, make_project, pairs, read_photos
from tests.clone import ROOT

SIZES = Sizes(tile=128, short_side=144, crops_a_photo=40, num_pairs=300)
CALIBRATION_STEPS = 100


def train(folder: Path, photos: list[Pixels], settings: dict[str, Any]) -> float:
    """Train and export as the pipeline does, and return how many seconds it took, without preparation."""
    entry = {"code": "pconv", "tiles": "data/prepared/train", "base": str(ROOT / "data/base/pconv.safetensors")}
    make_project(folder, photos, SIZES, {"models": {"pconv": entry}, "train": {"pconv": settings}})
    os.environ["DVC_ROOT"] = str(folder)
    os.chdir(folder)
    provide(settings["start_from"], Path(entry["base"]), START / "pconv")
    trainer.MIRROR = "stages.runtime.log"  # no live view: its process takes time
    start = time.perf_counter()
    trainer.train("pconv", PConvSettings, PConvModule)
    return time.perf_counter() - start


def settings_for(steps: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Take `train.pconv` of params.yaml at another length, its parts in proportion."""
    settings: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())["train"]["pconv"]
    settings |= changes
    whole = settings["steps"] + settings["finetune_steps"]
    finetune, decay = (steps * settings[name] // whole for name in ("finetune_steps", "decay_steps"))
    lengths = {"steps": steps - finetune, "finetune_steps": finetune, "decay_steps": decay, "validate_every": steps}
    return settings | lengths


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--steps", type=int, help="train for so many steps instead, however long they take")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of `train.pconv`")
    parser.add_argument("--keep", type=Path, help="where to write the composites, target | image | composite, as PNG")
    given = parser.parse_args()
    changes = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in given.set)}
    photos, held_out = read_photos(given.photos.resolve(), SIZES)
    print(f"{len(photos)} photographs to train on, {len(held_out)} to score on")
    keep = given.keep and given.keep.resolve()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        steps = given.steps
        if steps is None:
            trial = [
                train(root / f"trial{n}", photos[:9], settings_for(n, changes)) for n in (8, 8 + CALIBRATION_STEPS)
            ]
            steps = max(8, round((60 * given.minutes - trial[0]) * CALIBRATION_STEPS / (trial[1] - trial[0])))
        seconds = train(root / "run", photos, settings_for(steps, changes))
        model = exported.load(root / "run/data/models/pconv/model.pt2")
        targets, holes = pairs(held_out, SIZES)
        score(model, targets, holes, f"{steps} steps in {seconds:.0f} s", keep)


def score(model: exported.ExportedModel, targets: Pixels, holes: Pixels, what: str, keep: Path | None) -> None:
    """Print how far the model is ahead of biharmonic and harmonic inpainting, and write pictures where asked."""
    images = targets * (1 - holes)[..., None]
    image = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    hole = torch.from_numpy(holes)[:, None].float()
    predictions = torch.cat([model(image[n : n + 50], hole[n : n + 50]) for n in range(0, len(images), 50)])
    predictions = np.where(holes[..., None] == 1, predictions.permute(0, 2, 3, 1).numpy(), images / 255)
    ours = hole_psnr(predictions, targets, holes)
    print(f"{what}: {ours.mean():.2f} dB, {looks(predictions, targets, holes)}", flush=True)
    for rival in ("biharmonic", "harmonic"):
        theirs = np.stack([classical.fill(rival, *pair) for pair in zip(images, holes, strict=True)])
        ahead = ours - hole_psnr(theirs, targets, holes)
        error = ahead.std() / len(ahead) ** 0.5
        print(f"{ahead.mean():+.2f} dB (± {error:.2f}) to {rival}: {looks(theirs, targets, holes)}", flush=True)
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        for number in range(0, len(images), 10):
            sheet = np.concatenate([targets[number], images[number], np.uint8(255 * predictions[number] + 0.5)], axis=1)
            Image.fromarray(sheet).resize((SIZES.tile * 9, SIZES.tile * 3), Image.Resampling.NEAREST).save(
                keep / f"{number}.png"
            )


def looks(predictions: npt.NDArray[np.float32], targets: Pixels, holes: Pixels) -> str:
    """Return sharpness (1 = as the target) and perceptual distance in words, means over pairs."""
    answers = [
        scores.Answer(target, hole, made) for target, hole, made in zip(targets, holes, predictions, strict=True)
    ]
    sharpness = np.mean([scores.score(answer)["sharpness"] for answer in answers])
    composites = np.stack([scores.composite(answer) for answer in answers])
    distance = np.mean(Distance("cpu")(composites, scores.to_floats(targets), holes))
    return f"sharpness {sharpness:.2f}, perceptual distance {distance:.3f}"


if __name__ == "__main__":
    main()
