"""What the experiment on the size of the data left in data/data_size, if it was run (see `stages/data_size.py`)."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages.comparing.bootstrap import Estimate, Resamples


@dataclass(frozen=True)
class DataSize:
    """Hole PSNR of two models by the number of photographs they were trained on.

    Attributes:
        photos: the numbers, ascending.
        steps: of each training.
        curves: mean hole PSNR by number of photographs, by model.
        gains: from the smallest number to the largest, of each model, then the first model's beyond the second's.
    """

    photos: list[int]
    steps: int
    curves: dict[str, list[tuple[float, float]]]
    gains: list[tuple[str, Estimate]]


def read_data_size(folder: Path, rng: np.random.Generator) -> DataSize | None:
    """Read the experiment's scores, None where it was not run."""
    if not (folder / "scores.csv").exists():
        return None
    scores = pd.read_csv(folder / "scores.csv")
    steps: int = json.loads((folder / "record.json").read_text(encoding="utf-8"))["steps"]
    table = scores.pivot_table(index=["pair", "photo"], columns=["model", "photos"], values="hole_psnr")
    resamples = Resamples(pd.Series(table.index.get_level_values("photo")), rng)
    sizes = sorted(int(size) for size in scores["photos"].unique())
    models = ["pix2pix", "pconv"]
    gain = {model: table[model][sizes[-1]] - table[model][sizes[0]] for model in models}
    gains = [(model, resamples.estimate(gain[model])) for model in models]
    gains.append(("pix2pix beyond pconv", resamples.estimate(gain["pix2pix"] - gain["pconv"])))
    curves = {model: [(float(size), float(table[model][size].mean())) for size in sizes] for model in models}
    return DataSize(sizes, steps, curves, gains)
