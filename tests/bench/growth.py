"""Measure how time and memory of the stages grow with the number of tiles, on generated tiles of 8 x 8 pixels.

python -m tests.bench.growth                      # a table for docs/scaling.md; minutes
python -m tests.bench.growth train masks --tiles 100_000 10_000_000

What depends on one photo or tile alone (decoding, drawing a hole, altering a tile) is left out: what remains is the
stage's own work, in one process. Processor time is counted from when packages are imported; memory is what the process
has alone, packages included, since pages of mapped files can be dropped at any time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml

from stages.imaging.holes import pack
from stages.imaging.shards import write_tiles
from tests.clone import ROOT, params_with
from tests.factories import make_mask_set

SIDE, HOLE = 8, 24  # pixels of a tile, and of a hole
A_PHOTO, A_SHARD = 48, 2730  # tiles of a photo, and in a shard, as many as of 64 x 64 pixels
MEASURED = """
import threading, time
import numpy as np, psutil
{setup}
process, most, done = psutil.Process(), 0, threading.Event()
def private():
    memory = process.memory_info()
    return memory.rss - memory.shared
def watch():
    global most
    while not done.wait(0.02):
        most = max(most, private())
watching, start = threading.Thread(target=watch, daemon=True), time.process_time()
watching.start()
{work}
seconds = time.process_time() - start
done.set()
watching.join()
print(f"{{seconds:.1f}} s, {{most / 1e6:.0f}} MB")
"""
_PREPARE = (
    "import hashlib\n"
    "from stages.prepare import __main__ as stage, photo_cache\n"
    f"tiles = np.zeros(({A_PHOTO}, {SIDE}, {SIDE}, 3), np.uint8)\n"
    f"stage.SHARD_BYTES = {A_SHARD} * tiles[0].nbytes\n"
    "def hash_files(sources):\n"
    "    return [hashlib.sha256(source.name.encode()).hexdigest() for source in sources]\n"
    "def record(source):\n"
    "    [sha256] = hash_files([source])\n"
    "    facts = {'sha256': sha256, 'pixels': int(sha256[:16], 16), 'kind': 'JPEG', 'num_tiles': len(tiles)}\n"
    "    facts |= {'hashes': [int(sha256[:16], 16), int(sha256[16:32], 16)], 'height': 240, 'width': 320}\n"
    "    return dict.fromkeys(['version', 'reason', 'detail', 'changes'], '') | facts\n"
    "def take(sources, _):\n"
    "    records = photo_cache.pa.Table.from_pylist([*map(record, sources)], photo_cache.RECORD)\n"
    "    return np.concatenate([tiles] * len(sources)), records\n"
    "photo_cache.take, photo_cache.hash_files = take, hash_files",
    "stage.main()",
)
WORK = {
    "prepare": _PREPARE,
    "prepare, again": _PREPARE,  # where nothing has changed
    "pair": (  # of what prepare made
        "from stages import pair as stage",
        "stage.main()",
    ),
    "photographs": (
        "from stages import photographs as stage\n"
        "def make(config, job):\n"
        "    facts = dict.fromkeys(['photo', 'source', 'kind', 'ratio', 'sha256'], '')\n"
        "    return [facts | {'id': question.name} for question in job.questions]\n"
        "stage.make, stage.LEAST_SIDE_PX = make, 1",
        "stage.main()",
    ),
    "train, 2,000 batches": (
        "from stages.training.dataset import TrainingBatches",
        "batches = TrainingBatches(['data/prepared/train'], 'data/holes.npy', 8, 0)\n"
        "for step in (*range(1000), *range(10**7, 10**7 + 1000)):\n"
        "    batches[step]",
    ),
    "masks": (
        "from stages.masks import __main__ as stage, data_report\n"
        f"hole = np.eye({HOLE}, dtype=np.uint8)\n"
        "facts = {'kind': 'boxes', 'ratio': 0.1, 'bucket': 0, 'border': False}\n"
        "stage._draw_row = lambda recipe, split, row: (hole, {'row': row, **facts, 'seed': row})",
        "stage.main()",
    ),
    "augment": (
        "from stages.augment import __main__ as stage\n"
        'drawn = \'[{"name": "HorizontalFlip"}, {"name": "Affine", "rotate": 3.14159265, "shear": 1.5}]\'\n'
        "stage.alter = lambda compose, tile, seed: (tile, drawn)",
        "stage.main()",
    ),
}
OF_PHOTOS = {"prepare", "prepare, again", "pair", "photographs"}


def make(folder: Path, tiles: int) -> None:
    """Write params, training tiles, and a few holes."""
    rng = np.random.default_rng(0)

    def drawn() -> Iterator[np.ndarray]:
        for start in range(0, tiles, A_SHARD):
            yield from rng.integers(0, 256, (min(A_SHARD, tiles - start), SIDE, SIDE, 3), np.uint8)

    (folder / "params.yaml").write_text(yaml.safe_dump(params_with({"tile_size": HOLE, "masks": {"train": tiles}})))
    write_tiles(folder / "data/prepared/train", drawn(), A_SHARD * SIDE**2 * 3)
    np.save(folder / "data/holes.npy", pack(np.eye(SIDE, dtype=np.uint8)[None].repeat(1000, 0)))


def make_photos(folder: Path, tiles: int) -> None:
    """Draw test holes, and name photos of so many tiles, the smallest that `prepare` cuts; nothing reads the photos."""
    prepare = {"photos": "photos", "short_sides": [8 * SIDE]}
    (folder / "params.yaml").write_text(yaml.safe_dump(params_with({"tile_size": SIDE, "prepare": prepare})))
    for number in range(tiles // A_PHOTO):
        path = folder / f"photos/{number // 1000:06d}/{number:09d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    make_mask_set(folder / "data/masks", side=SIDE)


def run(stage: str, folder: Path) -> str:
    """Return processor seconds and memory of a stage, by the code in INPAINT_CODE, or this one."""
    setup, work = WORK[stage]
    own = {"PYTHONPATH": os.environ.get("INPAINT_CODE", str(ROOT)), "DVC_ROOT": str(folder), "INPAINT_WORKERS": "1"}
    command = [sys.executable, "-c", MEASURED.format(setup=setup, work=work)]
    done = subprocess.run(command, cwd=folder, env=os.environ | own, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{stage}: exit {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1]


def main() -> None:
    """Print a row of Markdown for each stage."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth")
    parser.add_argument("stages", nargs="*", default=list(WORK))
    parser.add_argument("--tiles", nargs="+", type=int, default=[10**5, 10**6])
    asked = parser.parse_args()
    stages = [stage for stage in WORK if any(stage.startswith(name) for name in asked.stages)]
    if OF_PHOTOS & {*stages}:
        stages = [*dict.fromkeys(["prepare", *stages])]  # the others read what it writes
    found: dict[str, list[str]] = {stage: [] for stage in stages}
    for tiles in asked.tiles:
        with tempfile.TemporaryDirectory() as folder:
            for stage, cells in found.items():
                if stage in OF_PHOTOS:
                    if not (Path(folder) / "photos").exists():
                        make_photos(Path(folder), tiles)
                elif not (Path(folder) / "data/holes.npy").exists():
                    make(Path(folder), tiles)
                cells.append(run(stage, Path(folder)))
                print(f"{tiles:,} tiles: {stage}: {cells[-1]}", file=sys.stderr, flush=True)
    print("| stage | " + " | ".join(f"{tiles:,} tiles" for tiles in asked.tiles) + " |")
    for stage, cells in found.items():
        print(f"| {stage} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
