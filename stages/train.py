"""Train a model on tiles and holes, and export it as `data/models/KEY/model.pt2` and `model.onnx`.

    python -m stages.train pconv         # as DVC does
    python -m stages.train --wait        # on machines that take part in the trainings of another one

KEY is a row of `models` in params.yaml, whose `code` is the package: `stages/pconv` or `stages/pix2pix`.
"""

import importlib
import os
import platform
import sys
from pathlib import Path
from typing import Any

from stages.runtime import guard, project
from stages.runtime.errors import InputError, os_reason
from stages.runtime.params import read
from stages.training import distributed


def main(key: str) -> None:
    """Train the model called `key` in params.yaml, in one process or several."""
    settings = read("train", dict[str, Any]).get(key)  # not checked yet: that takes torch
    batch_size = settings.get("batch_size") if isinstance(settings, dict) else None
    distributed.launch(key, train_here, batch_size if isinstance(batch_size, int) else None)


def train_here(key: str) -> None:
    """Train in this process, together with those that it was started with; process 0 knows the key and the folder."""
    from stages.training import loop, trainer  # not in the process that starts the others
    from stages.training.settings import ModelEntry

    fabric = loop.make_fabric()
    key, folder = fabric.broadcast((key, os.path.relpath(Path.cwd(), project.root().resolve())))
    with distributed.agreed(fabric):
        _enter(project.root().resolve() / folder)
        code = importlib.import_module(f"stages.{read(f'models.{key}', ModelEntry).code}.module")
    trainer.train(key, code.SETTINGS, code.MODULE, fabric)


def _enter(folder: Path) -> None:
    """Change to the folder of process 0: retraining and `dvc exp run --temp` train in one within the project."""
    try:
        os.chdir(folder)
    except OSError as error:
        said = f"{folder} cannot be entered on {platform.node()} ({os_reason(error)})"
        raise InputError(f"{said}; share the project's folder, e.g. by NFS") from None


if __name__ == "__main__":
    if sys.argv[1:] == ["--wait"]:
        sys.exit(guard.run(f"train@{platform.node()}", lambda: distributed.wait(train_here)))
    sys.exit(guard.run_with_key("train", main))
