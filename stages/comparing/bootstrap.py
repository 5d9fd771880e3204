"""Means with 95 % intervals, by drawing photos with replacement: the cluster bootstrap.

Pairs of one photo are alike, so photos are drawn, not pairs. All that is estimated from one `Resamples` uses the same
draws, and methods are scored on the same pairs, so an interval of differences is a paired one.

    resamples = Resamples(scores["photo"], np.random.default_rng(seed))
    gain = resamples.estimate(challenger["hole_psnr"] - champion["hole_psnr"])
    gain.side            # 1: surely more than 0, -1: surely less, 0: this test cannot tell

Percentile intervals (Efron and Tibshirani 1993, chapter 13). With fewer than about twenty photos they are too narrow.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

RESAMPLES = 2000
FEW_PHOTOS = 20  # below, percentile intervals are clearly too narrow

Values = npt.NDArray[np.float64] | pd.Series


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval; all three NaN where there is nothing to average."""

    mean: float
    low: float
    high: float

    @property
    def side(self) -> int:
        """Return 1 or -1 where the whole interval is above or below 0, and 0 where it is not."""
        return int(self.low > 0) - int(self.high < 0)


class Resamples:
    """Draws of the test photos, the same for whatever is estimated from them.

    Args:
        photos: the photo of each pair.
        rng: what draws.

    Attributes:
        photos: how many different ones there are.
    """

    def __init__(self, photos: pd.Series, rng: np.random.Generator) -> None:
        self._photo, names = pd.factorize(photos)
        self.photos = len(names)
        self._draws = rng.multinomial(self.photos, np.full(self.photos, 1 / self.photos), size=RESAMPLES)

    def estimate(self, values: Values, among: npt.NDArray[np.bool_] | pd.Series | None = None) -> Estimate:
        """Return the mean over pairs, and between which bounds 95 % of the resampled means lie.

        Args:
            values: one a pair: a score, or the difference between two methods.
            among: of which pairs; of all, if None.
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
