"""Means with 95 % intervals by the cluster bootstrap, which draws photos with replacement.

Pairs of one photo are correlated, so photos are drawn, not pairs. All estimates from one `Resamples` use the same
draws, and methods are scored on the same pairs, so intervals of differences are paired.

    resamples = Resamples(scores["photo"], np.random.default_rng(seed))
    gain = resamples.estimate(challenger["hole_psnr"] - champion["hole_psnr"])
    gain.side            # 1: significantly above 0, -1: below 0, 0: not significant

Intervals are percentiles (Efron and Tibshirani 1993, chapter 13); with fewer than about twenty photos they are too
narrow.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

RESAMPLES = 2000
FEW_PHOTOS = 20  # with fewer, percentile intervals are too narrow

Values = npt.NDArray[np.float64] | pd.Series


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval; NaN if there is nothing to average."""

    mean: float
    low: float
    high: float

    @property
    def side(self) -> int:
        """Return 1 or -1 if the whole interval is above or below 0, else 0."""
        return int(self.low > 0) - int(self.high < 0)


class Resamples:
    """Bootstrap draws of the test photos, shared by all estimates.

    Args:
        photos: the photo of each pair.
        rng: source of the random numbers.

    Attributes:
        photos: number of different photos.
    """

    def __init__(self, photos: pd.Series, rng: np.random.Generator) -> None:
        self._photo, names = pd.factorize(photos)
        self.photos = len(names)
        self._draws = rng.multinomial(self.photos, np.full(self.photos, 1 / self.photos), size=RESAMPLES)

    def estimate(self, values: Values, among: npt.NDArray[np.bool_] | pd.Series | None = None) -> Estimate:
        """Estimate the mean over pairs with its 95 % interval.

        Args:
            values: a score per pair, or the difference between two methods.
            among: the pairs to include; all if None.
        """
        numbers: npt.NDArray[Any] = np.asarray(values, np.float64)
        chosen = np.isfinite(numbers) if among is None else np.asarray(among, bool) & np.isfinite(numbers)
        if not chosen.any():
            return Estimate(np.nan, np.nan, np.nan)
        sums = np.bincount(self._photo[chosen], numbers[chosen], self.photos)
        counts = np.bincount(self._photo[chosen], minlength=self.photos)
        drawn = self._draws @ counts
        means = (self._draws @ sums)[drawn > 0] / drawn[drawn > 0]  # a draw may miss all photos of a small cell
        low, high = np.percentile(means, (2.5, 97.5))
        return Estimate(float(numbers[chosen].mean()), float(low), float(high))
