"""The state of a training between two steps, and the folder it waits in after an interruption.

The folder is `.resume/<fingerprint>/` in the project's root, outside DVC: the fingerprint is of everything that the
training depends on, so the same inputs resume, and any changed input starts clean.
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
    """Return the folder in which a training of this fingerprint keeps its state."""
    return project.root() / ".resume" / of[:32]


def save(where: Path, module: InpaintingModule, progress: Mapping[str, Any]) -> None:
    """Write the state of a training, and what the loop knows of it.

    Readers see the old checkpoint or the new one, never half of one.
    """
    state = {
        "training": where.name,
        "step": module.step,
        "module": module.state_dict(),
        "optimizers": {name: optimizer.state_dict() for name, optimizer in module.optimizers.items()},
        **progress,
    }
    write_state(where / FILE, state)


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values as torch does, atomically.

    By way of memory: torch's own writer turns a full disk into an error that does not say so.
    """
    memory = io.BytesIO()
    torch.save(state, memory)
    with atomic_write(path) as file:
        file.write(memory.getbuffer())


def load(where: Path) -> dict[str, Any] | None:
    """Read the state to go on from, or None where there is none.

    Raises:
        InputError: the file is there but cannot be read, or is of another training.
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
            f"{path} is the state of another training, {state.get('training')}, of another network or other data; "
            "delete it to start this training anew"
        )
    return state
