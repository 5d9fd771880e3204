"""The scores of a method, as shown in the report and in MLflow."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Score:
    """A column of the table.

    Attributes:
        name: of the column.
        label: shown to users.
        unit: "" if it has none.
        decimals: to print.
        best: "more", "less", or "1" if the ideal value is 1.
        is_compared: whether a better mean says that a method is better.
    """

    name: str
    label: str
    unit: str
    decimals: int
    best: str
    is_compared: bool = True

    def goodness(self, values: "pd.Series") -> npt.NDArray[np.float64]:
        """Transform values so that more is better."""
        numbers = values.to_numpy(np.float64)
        turned: npt.NDArray[np.float64] = {"more": numbers, "less": -numbers, "1": -np.abs(numbers - 1)}[self.best]
        return turned


SCORES = (
    Score("hole_psnr", "hole PSNR", "dB", 2, "more"),
    Score("hole_ssim", "hole SSIM", "", 4, "more"),
    Score("hole_l1_percent", "hole L1", "%", 2, "less"),
    Score("perceptual", "perceptual distance", "", 3, "less"),
    Score("lattice", "lattice", "", 3, "less", is_compared=False),  # photographs themselves have 0.001 to 0.003
    Score("told_apart", "told from the truth", "", 2, "less"),
    Score("lpips", "LPIPS", "", 3, "less"),
    Score("sharpness", "sharpness", "", 2, "1"),
    Score("psnr", "PSNR", "dB", 2, "more"),
    Score("ssim", "SSIM", "", 4, "more"),
    Score("l1_percent", "L1", "%", 2, "less"),
    Score("raw_psnr", "raw PSNR", "dB", 2, "more"),
    Score("raw_ssim", "raw SSIM", "", 4, "more"),
    Score("raw_l1_percent", "raw L1", "%", 2, "less"),
    Score("milliseconds", "time", "ms a picture", 1, "less", is_compared=False),  # another run gives other times
)
PHOTOGRAPH_SCORES = (
    Score("perceptual", "perceptual distance", "", 3, "less"),
    Score("hole_psnr", "hole PSNR", "dB", 2, "more"),
    Score("sharpness", "sharpness", "", 2, "1"),
    Score("milliseconds", "time", "ms a photo", 0, "less", is_compared=False),
)


def by_default(photographs: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows of a method's default: with copied texture, if it copies any."""
    has_detail = photographs["detail"].astype(bool)
    return photographs[has_detail == has_detail.any()].reset_index(drop=True)


def plain(photographs: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows without copied texture, if the method also has rows with it; else none."""
    has_detail = photographs["detail"].astype(bool)
    return photographs[~has_detail & bool(has_detail.any())].reset_index(drop=True)
