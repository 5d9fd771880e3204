"""Train Pix2Pix on tiles and holes; export it as `data/models/KEY/model.pt2`.

python -m stages.pix2pix.train pix2pix         # as DVC does
"""

import sys

from stages.fitting.training import train
from stages.pix2pix.module import Pix2PixModule, Pix2PixSettings
from stages.running import guard


def main(key: str) -> None:
    """Train the model called `key` in params.yaml."""
    train(key, Pix2PixSettings, Pix2PixModule)


if __name__ == "__main__":
    sys.exit(guard.run_with_key("train", main))
