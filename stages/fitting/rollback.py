"""What is done when a training's numbers go bad: the batch is kept for a look, and the training goes back, or stops.

To go back is to resume from the last validation's checkpoint, as after an interruption, with half the learning rate and
other draws of tiles and holes: with the same ones the same step would go wrong again. All of it follows from the
training's numbers, so a training that was rolled back and one that was interrupted as well end with the same weights.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from stages.fitting import checkpoint
from stages.fitting.dataset import Batch
from stages.fitting.settings import FitSettings
from stages.fitting.watch import Complaint
from stages.pictures.images import save_png
from stages.running.errors import InpaintError
from stages.running.files import atomic_write

MOST_ROLLBACKS = 3  # in a training
SLOWER = 0.5  # the learning rate after one, in units of that before

_SHOWN = 32  # pictures of a batch


def slowdowns(rollbacks: Sequence[Mapping[str, Any]], optimizers: Sequence[str]) -> dict[str, float]:
    """Return the factors of optimisers' learning rates after some rollbacks, by name; exactly 1 after none."""
    return {name: SLOWER ** sum(each["optimizer"] in (None, name) for each in rollbacks) for name in optimizers}


def roll_back_or_stop(complaint: Complaint, kept: Path, settings: FitSettings, key: str, state: Path) -> str:
    """Have the training resume from where its numbers were good, and return what to say of it.

    Args:
        complaint: what is wrong.
        kept: picture of the batch of the step at which it showed.
        settings: say whether to go back at all.
        key: of the model.
        state: folder of the training's checkpoints.

    Raises:
        InpaintError: the settings say to stop, or the training went back often enough.
    """
    good = checkpoint.load_good(state)
    rollbacks = good["extra"]["rollbacks"]
    seen = f"at step {complaint.step + 1} {complaint.what}; its batch is in {kept} and {kept.with_suffix('.npz').name}"
    advice = f"Look at the batch; lower `train.{key}.learning_rate`, or train in float32 (INPAINT_PRECISION=32-true)"
    if settings.on_bad_numbers == "stop":
        raise InpaintError(f"{seen}. {advice}, or set `train.{key}.on_bad_numbers` to rollback") from None
    if len(rollbacks) == MOST_ROLLBACKS:
        raise InpaintError(
            f"{seen}, after {len(rollbacks)} rollbacks, each at half the learning rate. {advice}"
        ) from None
    rollbacks.append(
        {"step": complaint.step + 1, "to": good["step"], "what": complaint.what, "optimizer": complaint.optimizer}
    )
    checkpoint.go_back(state, good)
    return f"{seen}. Back to step {good['step']}, with half the learning rate and other draws"


def keep_batch(folder: Path, batch: Batch) -> Path:
    """Write a batch as a sheet of pictures and as arrays.

    Args:
        folder: made if missing.
        batch: targets and holes.

    Returns:
        the sheet: targets above, what the network saw of them below, holes white. Beside it, as `.npz`, uint8 `target`
        (N, H, W, 3) and `hole` (N, H, W).
    """
    target = batch["target"].permute(0, 2, 3, 1).numpy()
    hole = batch["hole"][:, 0].numpy()
    image = np.where(hole[..., None] == 1, np.uint8(255), target)
    path = folder / f"step_{batch['step'] + 1:06d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(path, np.concatenate([np.concatenate(row[:_SHOWN], axis=1) for row in (target, image)]))
    np.savez_compressed(content := BytesIO(), target=target, hole=hole)
    with atomic_write(path.with_suffix(".npz")) as file:
        file.write(content.getbuffer())
    return path
