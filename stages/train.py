"""Train a model on tiles and holes, and export it as `data/models/KEY/model.pt2` and `model.onnx`.

    python -m stages.train pconv         # as DVC does

KEY is a row of `models` in params.yaml, whose `code` is the package: `stages/pconv` or `stages/pix2pix`.
"""

import importlib
import sys

from stages.runtime import guard
from stages.runtime.params import read
from stages.training.settings import ModelEntry
from stages.training.trainer import train


def main(key: str) -> None:
    """Train the model called `key` in params.yaml."""
    code = importlib.import_module(f"stages.{read(f'models.{key}', ModelEntry).code}.module")
    train(key, code.SETTINGS, code.MODULE)


if __name__ == "__main__":
    sys.exit(guard.run_with_key("train", main))
