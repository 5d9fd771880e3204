"""Train PConvNet, or its plain twin, on tiles and holes; export it as `data/models/KEY/model.pt2`.

python -m stages.pconv.train pconv         # as DVC does
"""

import sys

from stages.fitting.training import train
from stages.pconv.module import PConvModule, PConvSettings
from stages.running import guard


def main(key: str) -> None:
    """Train the model called `key` in params.yaml."""
    train(key, PConvSettings, PConvModule)


if __name__ == "__main__":
    sys.exit(guard.run_with_key("train", main))
