"""Checkpoints of trainings, in `.resume/<fingerprint>/` in the project's root, outside DVC.

The fingerprint covers everything that a training depends on, so it resumes only with the same inputs.
"""

import fcntl
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import torch

from stages.runtime import project
from stages.runtime.errors import InputError
from stages.runtime.files import atomic_write
from stages.runtime.locks import flock
from stages.runtime.log import log
from stages.training.fabric import Fabric
from stages.training.module import InpaintingModule

FILE = "checkpoint.pt"
_POLL_S = 1.0


def folder(of: str) -> Path:
    """Return the folder for the checkpoint of a training with this fingerprint."""
    return project.root() / ".resume" / of[:32]


@contextmanager
def place(of: str, fabric: Fabric) -> Iterator[Path]:
    """Keep the folder of a training with this fingerprint to process 0; others get a temporary one.

    While process 0 waits for the folder, it tells the others every second: they would give up after half an hour.
    """
    if fabric.is_global_zero:
        with held(where := folder(of), waiting=lambda: fabric.broadcast(False)):
            fabric.broadcast(True)
            yield where
    else:
        while not fabric.broadcast(False):
            pass
        with TemporaryDirectory() as name:
            yield Path(name)


@contextmanager
def held(where: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Keep the folder of a checkpoint to one process, waiting for others: checkouts of one project share it.

    Such checkouts are those of `dvc exp run --queue` and of retraining.

    Args:
        where: the folder.
        waiting: is called once a second while another process has it.

    Raises:
        InputError: the file system does not support locks.
    """
    path = _lock_of(where)
    path.parent.mkdir(exist_ok=True)
    misses = 0
    while True:
        with path.open("a") as file:
            try:
                flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if misses == 1:  # the first may be due to one who only asks, in `is_held`
                    log(f"waiting for a process that trains the same model in another checkout ({where.name})")
                waiting()
                time.sleep(_POLL_S if misses else 0)
                misses += 1
                continue
            if not _is_at(path, file):
                continue  # whoever held it has removed it since
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def is_held(where: Path) -> bool:
    """Return whether a process trains with the folder of a checkpoint."""
    try:
        with _lock_of(where).open() as file:
            flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _is_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _lock_of(where: Path) -> Path:
    return where.parents[1] / ".locks" / f"{where.name}.training"


def save(where: Path, module: InpaintingModule, progress: Mapping[str, Any]) -> None:
    """Write module, optimizers and the progress of the loop, atomically."""
    state = {
        "training": where.name,
        "step": module.step,
        "module": module.state_dict(),
        "optimizers": {name: optimizer.state_dict() for name, optimizer in module.optimizers.items()},
        **progress,
    }
    write_state(where / FILE, state)


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values with `torch.save`, atomically.

    They are serialized in memory first, since torch's own writer does not report a full disk as such.
    """
    memory = io.BytesIO()
    torch.save(state, memory)
    with atomic_write(path) as file:
        file.write(memory.getbuffer())


def load(where: Path) -> dict[str, Any] | None:
    """Read a checkpoint; None if there is none.

    Raises:
        InputError: the file cannot be read, or belongs to another training.
    """
    path = where / FILE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path} cannot be read ({error}); delete its folder to start this training anew") from None
    if state.get("training") != where.name:
        raise InputError(
            f"{path} is the checkpoint of another training, {state.get('training')}; delete it to start this one anew"
        )
    return state
