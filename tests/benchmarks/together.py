"""How much faster two processes train than one: their tiles a second, and that as a share of twice one process's.

    python -m tests.benchmarks.together            # minutes; part of make bench

Trainings with the settings of params.yaml but for the steps, one core (or GPU) a process. The batch is the same, so
each of two processes has half of it. Two runs of each, in turn; the faster one counts.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import yaml

from stages.running import machine
from tests.benchmarks.__main__ import default_data
from tests.clone import ROOT

STEPS, RUNS = 75, 2
SCRIPT = """
import sys
from stages.fitting import training
from stages.pconv.module import PConvModule, PConvSettings
from stages.pix2pix.module import Pix2PixModule, Pix2PixSettings
from tests.project import without_export

without_export()  # what is measured comes before
training.MIRROR = "stages.running.say"
kinds = {"pconv": (PConvSettings, PConvModule), "pix2pix": (Pix2PixSettings, Pix2PixModule)}
training.train(sys.argv[1], *kinds[sys.argv[1]])
"""


def rate(folder: Path, key: str, processes: int) -> float:
    """Train anew, and return the median of tiles a second after the first rows of history."""
    settings = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "DVC_ROOT": str(folder)}
    (folder / "train.py").write_text(SCRIPT)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*launcher, "train.py", key]
    subprocess.run(command, cwd=folder, env=os.environ | settings, check=True, capture_output=True)
    history = pd.read_csv(folder / "data/training" / key / "history.csv")
    return float(history["tiles_per_s"].iloc[1:].median())


def main() -> None:
    """Print a line a model."""
    where = machine.describe()
    print(f"{where['gpu'] or where['processor']}, {where['cores']} cores, {where['precision']}")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["models"]["pix2pix"]["tiles"] = "data/prepared/train"
    for settings in params["train"].values():
        unused = {"finetune_steps", "decay_steps"} & set(settings)
        settings.update({"steps": STEPS, "validate_every": STEPS} | dict.fromkeys(unused, 0))
    for key in ("pconv", "pix2pix"):
        with tempfile.TemporaryDirectory() as folder:
            default_data(Path(folder), params)
            runs = [[rate(Path(folder), key, n) for n in (1, 2)] for _ in range(RUNS)]
        one, two = map(max, zip(*runs, strict=True))
        print(
            f"{key}, batches of {params['train'][key]['batch_size']}: {one:.0f} tiles a second in one process, "
            f"{two:.0f} in two: efficiency {two / one / 2:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
