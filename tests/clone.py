"""A clone of the project as it stands here, uncommitted changes included, with settings small enough for a test."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import psutil
import yaml

from stages.runtime.processes import named
from tests.warm import warm_stages

ROOT = Path(__file__).parents[1]
_UNSET = ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME", "DVC_STAGE", "PYTHONPATH")

TINY_TRAINING = {
    "start_from": "none",
    "decay_steps": 0,
    "hole_perceptual_weight": 0.0,
    "width": 4,
    "levels": 2,
    "batch_size": 4,
    "steps": 6,
    "validate_every": 4,
}
BARE = {"harmonic_residual": False}  # two of four, since what they add takes most of the time of an export
TINY: dict[str, Any] = {
    "tile_size": 32,
    "prepare": {"short_sides": [40], "max_tiles_per_photo": 4},
    "masks": {"train": 12, "val": 8, "test_per_cell": 2},
    "train": {
        "unet": TINY_TRAINING | {"finetune_steps": 2} | BARE,
        "pconv": TINY_TRAINING | {"finetune_steps": 2},
        "pconv_augmented": TINY_TRAINING | {"finetune_steps": 2} | BARE,
        "pix2pix": TINY_TRAINING | {"discriminator_width": 4, "discriminator_layers": 1, "decay_steps": 2},
    },
    "criterion": {"score": "hole_psnr"},
    "evaluate": {"critic": 0},
    "pairs": {"per_cell": 2},
    "photographs": {"max_side": 128, "count": 7, "gallery": 2},
}


class Clone:
    """A working tree of its own with its own git history and DVC cache.

    Args:
        folder: where it is made.
        changes: of params.yaml, section by section; the other values stay.
        repository: of git, where that is a folder above.

    Attributes:
        given: what the environment of its commands says beside this one's.
    """

    given: Mapping[str, str] = {}

    def __init__(self, folder: Path, changes: Mapping[str, Any] | None = None, repository: Path | None = None) -> None:
        self.root = folder
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        self.change_params(changes or TINY)
        self.run("git", "init", "-q", "-b", "main", str(repository or folder))
        self.commit("as it stands")

    def change_params(self, changes: Mapping[str, Any]) -> None:
        """Overwrite some values of params.yaml."""
        path = self.root / "params.yaml"
        path.write_text(yaml.safe_dump(merged(yaml.safe_load(path.read_text()), changes), sort_keys=False))

    def commit(self, message: str) -> None:
        """Commit everything that git does not ignore."""
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "-m", message)

    def run(self, *words: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone with this environment's programs first; stages start `warm`."""
        env = self._environment(warm_stages() | environment)
        done = subprocess.run(words, cwd=self.root, env=env, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(words)}: exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
            )
        return done

    def start(
        self, *words: str, stdout: Any = subprocess.PIPE, stderr: Any = subprocess.STDOUT, **environment: str
    ) -> subprocess.Popen[str]:
        """Start a command, as `run` does, in a group of processes of its own."""
        return subprocess.Popen(
            words, cwd=self.root, env=self._environment(environment), start_new_session=True,
            stdout=stdout, stderr=stderr, text=True,
        )  # fmt: skip

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in _UNSET}
        inherited["PATH"] = f"{Path(sys.executable).parent}:{inherited['PATH']}"
        inherited["SHELL"] = "/bin/sh"  # as under a scheduler: on Debian it stays between DVC and its stages
        return {**inherited, **self.given, **more}


def params_with(*changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the project's params with some values overwritten."""
    return reduce(merged, changes, yaml.safe_load((ROOT / "params.yaml").read_text()))


def merged(old: Any, new: Any) -> Any:
    """Overwrite some values of nested settings."""
    if not (isinstance(old, dict) and isinstance(new, Mapping)):
        return new
    return old | {key: merged(old.get(key), value) for key, value in new.items()}


def name_of_dead() -> str:
    """Name a process, as `processes.named` does, that has ended: this one's number was given to it before."""
    place, _, started = named(os.getpid()).rpartition(".")
    return f"{place}.{int(started) - 1}"


def living(root: Path) -> list[psutil.Process]:
    """Find all processes whose working directory is a folder, or in it."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(root) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            pass
    return found
