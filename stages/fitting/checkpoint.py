"""The state of a training between two steps, and the folder it waits in after an interruption.

The folder is `.resume/<fingerprint>/` in the project's root, outside DVC: the fingerprint is of everything that the
training depends on, so the same inputs resume, and any changed input starts clean.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.fitting import together
from stages.fitting.module import InpaintingModule
from stages.fitting.watch import BadNumbersError, Complaint
from stages.running import project
from stages.running.errors import InputError
from stages.running.files import atomic_write

LATEST = "checkpoint.pt"
GOOD = "good.pt"  # of the last validation, or of the start: what a rollback goes back to


def folder(of: str) -> Path:
    """Return the folder in which a training of this fingerprint keeps its state."""
    return project.root() / ".resume" / of[:32]


def save(where: Path, module: InpaintingModule, extra: Mapping[str, Any]) -> None:
    """Write the state of a training; readers see the old checkpoint or the new one, never half of one."""
    write_state(where / LATEST, _state(where, module, extra))


def save_good(where: Path, module: InpaintingModule, extra: Mapping[str, Any]) -> None:
    """Write the state of a training whose validation went well: to resume from, and to go back to.

    Raises:
        BadNumbersError: a weight, an average or a statistic is not finite, and nothing is written.
    """
    state = _state(where, module, extra)
    _require_finite(module.step, state["module"])
    if not together.is_first():
        return
    write_state(where / GOOD, state)
    (where / LATEST).unlink(missing_ok=True)  # which is older


def _state(where: Path, module: InpaintingModule, extra: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "training": where.name,
        "step": module.step,
        "module": module.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in module.trainer.optimizers],
        "extra": dict(extra),
    }


def _require_finite(step: int, tensors: Mapping[str, Tensor]) -> None:
    values = {name: value for name, value in tensors.items() if value.is_floating_point()}
    finite = torch.stack([value.isfinite().all() for value in values.values()]).tolist()
    wrong = [name for name, good in zip(values, finite, strict=True) if not good]
    if wrong:
        what = f"{len(wrong)} of {len(values)} weights are no longer finite, {wrong[0]} among them"
        raise BadNumbersError(Complaint(max(step - 1, 0), what))


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
    path = next((where / name for name in (LATEST, GOOD) if (where / name).exists()), None)
    return None if path is None else _read(path)


def load_good(where: Path) -> dict[str, Any]:
    """Read the state of the last good validation, or of the start.

    Raises:
        InputError: it cannot be read.
    """
    return _read(where / GOOD)


def go_back(where: Path, state: Mapping[str, Any]) -> None:
    """Make a good state, to which something was added, the one to go on from."""
    (where / LATEST).unlink(missing_ok=True)  # first: interrupted here, the training comes by the same place again
    write_state(where / GOOD, state)


def _read(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path} cannot be read ({error}); delete its folder to start this training anew") from None
    if state.get("training") != path.parent.name:
        raise InputError(
            f"{path} is the state of another training, {state.get('training')}, of another network or other data; "
            "delete it to start this training anew"
        )
    return state
