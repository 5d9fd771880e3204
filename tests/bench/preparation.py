"""Measure what preparation promises of its speed and memory. Times are of the processor, so other load matters little.

python -m tests.bench.preparation                 # two minutes
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import yaml
from PIL import Image

from stages.augment.transforms import alter, build
from stages.imaging.near import near_duplicates
from stages.imaging.source_table import Source
from stages.masks.__main__ import Recipe, _draw_rows
from stages.prepare.photos import take
from stages.prepare.tiling import TilingConfig
from tests.clone import ROOT
from tests.factories import photo

DEFAULTS = yaml.safe_load((ROOT / "params.yaml").read_text())
CUTTING = TilingConfig(64, tuple(DEFAULTS["prepare"]["short_sides"]), 48, 100, turned=False, seed=0)
ROUNDS = 20


def processor_seconds(work: Callable[[], object]) -> float:
    """Time one call, in seconds of this process's processor time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def decoding() -> str:
    """Photos to tiles, in units of a bare Pillow decode of the same files, on one core."""
    with tempfile.TemporaryDirectory() as folder:
        paths = _large_photos(Path(folder), 6)
        bare = ours = 0.0
        for path in paths:  # in turn, so that other load meets both
            bare += processor_seconds(lambda path=path: np.asarray(Image.open(path).convert("RGB")))
            ours += processor_seconds(lambda path=path: take((Source(path, "photo"),), CUTTING))
    return (
        f"{bare / ours:.0%} of the speed of a bare Pillow decode, {1000 * ours / len(paths):.0f} against "
        f"{1000 * bare / len(paths):.0f} ms a photo, {len(paths)} photos"
    )


def _large_photos(folder: Path, count: int) -> list[Path]:
    """Write JPEGs of 12 megapixels with detail at every scale."""
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        smooth = Image.fromarray(photo(number, 300, 400)).resize((4000, 3000), Image.Resampling.BICUBIC)
        grain = np.random.default_rng(number).normal(0, 6, (3000, 4000, 1))
        Image.fromarray((np.asarray(smooth) + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return paths


def known_photos() -> str:
    """A second run over the same photos: they are hashed, and their shards linked."""
    with tempfile.TemporaryDirectory() as folder:
        _project(Path(folder), 200)
        first, second = _prepare(Path(folder)), _prepare(Path(folder))
    return f"200 small photos in {first:.1f} s, again in {second:.1f} s, of which most is the start of Python"


def holes() -> str:
    """Holes of 256 x 256 pixels, by one core."""
    cv2.setNumThreads(1)
    kinds = {kind: share for kind, share in DEFAULTS["masks"]["kinds"].items() if kind != "files"}
    recipe = Recipe(0, 256, (0.01, 0.6), kinds, None)
    return f"{200 / _quietest(lambda: _draw_rows(recipe, 'train', range(200))):,.0f} a second on one core"


def augmentation() -> str:
    """Tiles of 64 x 64 pixels through the transforms of params.yaml, by one core."""
    cv2.setNumThreads(1)
    compose, tile = build(DEFAULTS["augment"]["transforms"], 64), photo(0, 64, 64)
    seconds = _quietest(lambda: [alter(compose, tile, number) for number in range(200)])
    return f"{200 / seconds:,.0f} tiles a second on one core"


def _quietest(work: Callable[[], object]) -> float:
    """Return the shortest of many rounds: what the work takes while nothing else uses the core's caches."""
    return min(processor_seconds(work) for _ in range(ROUNDS))


def near(count: int = 100_000) -> str:
    """Near duplicates among random hashes, a twentieth of them others' with six bits flipped."""
    rng = np.random.default_rng(0)
    looks = rng.integers(0, 2**64, (count, 1, 2), np.uint64)
    copies = rng.permutation(count // 2)[: count // 20] + count // 2
    flips = np.array([sum(1 << int(bit) for bit in rng.permutation(64)[:6]) for _ in copies], np.uint64)
    originals = rng.integers(0, count // 2, len(copies))
    looks[copies, 0, 0] = looks[originals, 0, 0] ^ flips
    start = time.perf_counter()
    groups, _ = near_duplicates(looks, 6)
    found = int((groups[copies] == groups[originals]).sum())
    return (
        f"{count:,} photos in {time.perf_counter() - start:.1f} s on one core, {found:,} of {len(copies):,} pairs found"
    )


def _project(folder: Path, photos: int) -> None:
    params = DEFAULTS | {"prepare": DEFAULTS["prepare"] | {"photos": "photos"}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "photos").mkdir()
    for number in range(photos):
        Image.fromarray(photo(number, 321, 481)).save(folder / "photos" / f"{number:06d}.jpg", quality=90)


def _prepare(folder: Path) -> float:
    """Run the stage; return its processor time in seconds."""
    own = {"PYTHONPATH": str(ROOT), "DVC_ROOT": str(folder), "INPAINT_WORKERS": "1", "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-m", "stages.prepare"], cwd=folder, env=os.environ | own, **quiet) as stage:
        _, status, usage = os.wait4(stage.pid, 0)
        stage.returncode = os.waitstatus_to_exitcode(status)
    if stage.returncode:
        sys.exit(f"python -m stages.prepare in {folder}: exit {stage.returncode}")
    return usage.ru_utime + usage.ru_stime


MEASURED: dict[str, Callable[[], str]] = {
    "large photos to tiles": decoding,
    "known photos": known_photos,
    "near duplicates": near,
    "holes of 256 x 256": holes,
    "augmentation": augmentation,
}

if __name__ == "__main__":
    for name, measure in MEASURED.items():
        print(f"{name}: {measure()}", flush=True)
