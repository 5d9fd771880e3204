"""Checkpoints of trainings, in `.resume/<fingerprint>/` in the project's root, outside DVC.

The fingerprint covers everything that a training depends on, so it resumes only with the same inputs.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from stages.runtime import project
from stages.runtime.errors import InputError
from stages.runtime.files import atomic_write
from stages.training.module import InpaintingModule

FILE = "checkpoint.pt"


def folder(of: str) -> Path:
    """Return the folder for the checkpoint of a training with this fingerprint."""
    return project.root() / ".resume" / of[:32]


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
