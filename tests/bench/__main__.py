"""Measure what the project promises of its speed: ratios within one run, since machines differ and are shared.

make bench          # prints a table, a few minutes
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml

from stages.imaging.holes import pack
from stages.imaging.shards import write_tiles
from stages.pconv.losses import Weights, loss_terms
from stages.pconv.network import PConvUNet
from stages.runtime import machine
from stages.start import provide
from stages.training import trainer
from stages.training.dataset import TrainingBatches
from stages.training.settings import START
from tests.bench import preparation
from tests.clone import ROOT

WARM_UP, ROUNDS, STEPS = 3, 5, 8


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def training_step(
    partial: bool, width: int = 32, levels: int = 5, size: int = 64, batch: int = 16
) -> Callable[[], None]:
    """Return a function that trains a U-Net for one step."""
    network = PConvUNet(width, levels, partial).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    target = torch.rand(batch, 3, size, size).to(memory_format=torch.channels_last)
    hole = torch.zeros(batch, 1, size, size)
    hole[..., size // 4 : size // 2, size // 4 : size // 2] = 1
    half = machine.precision() == "bf16-mixed"

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            filled = network(target * (1 - hole), hole)
        optimizer.zero_grad()
        loss_terms(filled, target, hole, Weights(perceptual=0, style=0), None)["loss"].backward()
        optimizer.step()

    return step


def partial_against_plain() -> str:
    """A step of the partial U-Net in units of its plain twin's, in turn."""
    steps = {partial: training_step(partial) for partial in (False, True)}
    for step in steps.values():
        for _ in range(WARM_UP):
            step()
    taken = {partial: [] for partial in steps}
    for _ in range(ROUNDS):
        for partial, step in steps.items():
            taken[partial].append(seconds(lambda step=step: [step() for _ in range(STEPS)]) / STEPS)
    plain, partial = (statistics.median(taken[each]) for each in (False, True))
    return f"{partial / plain:.2f} x the plain one's {plain * 1000:.0f} ms"


def loader() -> str:
    """Tiles with their holes, from memory maps, before they are floats."""
    machine.keep_freed_memory()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        write_tiles(folder, (rng.integers(0, 256, (256, 256, 3), np.uint8) for _ in range(256)))
        np.save(Path(folder) / "holes.npy", pack((rng.random((64, 256, 256)) < 0.3).astype(np.uint8)))
        batches = TrainingBatches([folder], Path(folder) / "holes.npy", 32, seed=0)
        rates = [
            32 * 8 / seconds(lambda start=start: [batches[start + n] for n in range(8)]) for start in (0, 8, 16, 24)
        ]
    return f"{statistics.median(rates):,.0f} tiles of 256 x 256 a second, one process"


def mirror() -> str:
    """What the live view in MLflow costs a training of the default length."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    steps, short = params["train"]["unet"]["steps"] + params["train"]["unet"]["finetune_steps"], 240
    params["train"]["unet"] |= {"steps": short, "finetune_steps": 0, "validate_every": short}
    code = (
        "import sys\nfrom stages.training import trainer\nfrom stages.pconv.module import PConvModule, PConvSettings\n"
        "trainer.MIRROR = sys.argv[1]\ntrainer.train('unet', PConvSettings, PConvModule)"
    )
    taken: dict[str, list[float]] = {trainer.MIRROR: [], "stages.runtime.log": []}  # the second does nothing
    with tempfile.TemporaryDirectory() as folder:
        default_data(Path(folder), params)
        environment = os.environ | {"PYTHONPATH": str(ROOT), "DVC_ROOT": folder}
        for _ in range(2):
            for module, times in taken.items():
                command = [sys.executable, "-c", code, module]
                times.append(
                    seconds(
                        lambda command=command: subprocess.run(
                            command, cwd=folder, env=environment, check=True, capture_output=True
                        )
                    )
                )
    live, bare = (min(times) for times in taken.values())
    extra = live - bare
    whole = bare * steps / short
    return f"{extra:+.1f} s, {100 * extra / whole:+.1f} % of the {whole:.0f} s of {steps} steps"


def default_data(folder: Path, params: dict[str, object]) -> None:
    """Write params, and tiles and holes of the default size, into a folder."""
    rng = np.random.default_rng(0)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    provide("none", Path(), folder / START / "unet")
    for split in ("train", "val"):
        write_tiles(folder / "data/prepared" / split, (rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(64)))
        (folder / "data/masks").mkdir(exist_ok=True)
        holes = np.zeros((64, 64, 64), np.uint8)
        holes[:, 20:40, 10:30] = 1
        np.save(folder / f"data/masks/{split}.npy", pack(holes))


def main() -> None:
    """Print a line a measurement."""
    print(f"{machine.describe()['processor']}, {machine.cores()} cores, {machine.precision()}")
    for name, measure in {
        "training step of the partial U-Net, width 32, 64 x 64": partial_against_plain,
        "loading": loader,
        "live view in MLflow": mirror,
        **preparation.MEASURED,
    }.items():
        print(f"{name}: {measure()}", flush=True)


if __name__ == "__main__":
    main()
