"""Measure how time and memory of the stages grow with the number of tiles, on generated tiles of 24 x 24 pixels.

python -m tests.bench.growth                      # a table for docs/scaling.md; half an hour
python -m tests.bench.growth train masks --tiles 100_000 1_000_000 10_000_000

Memory is the largest sum, over a stage and its worker processes, of what is theirs alone: pages of mapped files can be
dropped at any time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import yaml

from stages.imaging.holes import pack
from stages.imaging.shards import write_tiles
from tests.clone import ROOT, params_with

SIDE, A_SHARD = 24, 680  # pixels; tiles in a shard, as many as of 128 x 128 pixels
POLL_S = 0.05
TRAIN = """
from stages.training.dataset import TrainingBatches
batches = TrainingBatches(["data/prepared/train"], "data/masks/train.npy", 8, 0)
for step in (*range(1000), *range(10**6, 10**6 + 1000)):
    batches[step]
"""
PREPARE = """
import sys
import numpy as np
from pathlib import Path
from stages.imaging.sources import Source
from stages.prepare.manifest import write_manifest
from stages.prepare.photos import Photo
from stages.prepare.selection import select
from stages.prepare.sharding import assign_shards
from stages.prepare.tiling import TilingConfig
from stages.imaging.near import Hashes
"""
WORK = {
    "train": [sys.executable, "-c", TRAIN],
    "augment": [sys.executable, "-m", "stages.augment"],
    "masks": [sys.executable, "-m", "stages.masks"],
    "evaluate": [sys.executable, "-m", "stages.evaluate", "biharmonic"],
}


def make(folder: Path, tiles: int) -> None:
    """Write params and inputs of the stages: `tiles` training tiles, and as many holes and pairs as belong to them."""
    rng = np.random.default_rng(0)

    def drawn() -> Iterator[np.ndarray]:
        for _ in range(0, tiles, A_SHARD):
            yield from rng.integers(0, 256, (A_SHARD, SIDE, SIDE, 3), np.uint8)

    shares = {"strokes": 0, "blobs": 0, "boxes": 1, "challenge": 0, "everyday": 0, "files": 0}
    params = params_with({"tile_size": SIDE, "masks": {"train": tiles, "kinds": shares}})
    params["augment"]["transforms"] = [{"name": "HorizontalFlip", "p": 0.5}]
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    write_tiles(folder / "data/prepared/train", drawn(), A_SHARD * SIDE**2 * 3)
    (folder / "data/masks").mkdir()
    holes = np.zeros((1000, SIDE, SIDE), np.uint8)
    holes[:, 4:12, 3:9] = 1
    np.save(folder / "data/masks/train.npy", pack(holes))


def run(command: list[str], folder: Path) -> tuple[float, float]:
    """Return seconds and the largest memory in MB of a command and its workers."""
    own = {"PYTHONPATH": os.environ.get("INPAINT_CODE", str(ROOT)), "DVC_ROOT": str(folder), "INPAINT_WORKERS": "2"}
    start, most = time.perf_counter(), 0.0
    with subprocess.Popen(
        command, cwd=folder, env=os.environ | own, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as stage:
        while stage.poll() is None:
            most = max(most, _private(stage.pid))
            time.sleep(POLL_S)
        if stage.returncode:
            sys.exit(f"{command}: exit {stage.returncode}: {stage.stderr.read().decode()[-2000:]}")
    return time.perf_counter() - start, most / 1e6


def _private(pid: int) -> float:
    total = 0
    try:
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            memory = process.memory_info()
            total += memory.rss - memory.shared
    except psutil.Error:
        pass
    return float(total)


def main() -> None:
    """Print a row of Markdown for each stage."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth")
    parser.add_argument("stages", nargs="*", default=list(WORK))
    parser.add_argument("--tiles", nargs="+", type=int, default=[10**5, 10**6])
    asked = parser.parse_args()
    print("| stage | " + " | ".join(f"{tiles:,} tiles" for tiles in asked.tiles) + " |")
    found: dict[str, list[str]] = {stage: [] for stage in asked.stages}
    for tiles in asked.tiles:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), tiles)
            for stage in asked.stages:
                seconds, memory = run(WORK[stage], Path(folder))
                found[stage].append(f"{seconds:.0f} s, {memory:.0f} MB")
                print(stage, tiles, found[stage][-1], file=sys.stderr, flush=True)
    for stage, cells in found.items():
        print(f"| {stage} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
