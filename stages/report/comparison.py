"""Methods against each other: means, how sure they are, and which is best where.

Pairs of one photo are alike, so photos, not pairs, are drawn with replacement: the cluster bootstrap. Every method is
scored on the same pairs and resampled by the same draws, so differences between methods are paired.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.report.reading import Evaluation

RESAMPLES = 2000

# name in the scores, name for people, unit, decimals, whether more is better
SCORES = (
    ("hole_psnr", "hole PSNR", "dB", 2, True),
    ("psnr", "PSNR", "dB", 2, True),
    ("ssim", "SSIM", "", 4, True),
    ("hole_l1_percent", "hole L1", "%", 2, False),
    ("l1_percent", "L1", "%", 2, False),
    ("raw_psnr", "raw PSNR", "dB", 2, True),
    ("milliseconds", "time", "ms a picture", 1, False),
)


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


class Resamples:
    """Draws of the test photos, the same for whatever is estimated from them.

    Args:
        photos: the photo of each pair.
        rng: what draws.
    """

    def __init__(self, photos: pd.Series, rng: np.random.Generator) -> None:
        self._photo, names = pd.factorize(photos)
        self.photos = len(names)
        self._draws = rng.multinomial(self.photos, np.full(self.photos, 1 / self.photos), size=RESAMPLES)

    def estimate(self, values: npt.NDArray[np.float64]) -> Estimate:
        """Return the mean over pairs, and between which bounds 95 % of the resampled means lie.

        Args:
            values: one a pair.
        """
        sums, counts = np.bincount(self._photo, values), np.bincount(self._photo)
        low, high = np.percentile((self._draws @ sums) / (self._draws @ counts), (2.5, 97.5))
        return Estimate(float(values.mean()), float(low), float(high))


@dataclass(frozen=True)
class Gain:
    """How far the best method is ahead of another one.

    Attributes:
        over: the other method, in words.
        by: in dB of hole PSNR.
    """

    over: str
    by: Estimate


@dataclass(frozen=True)
class Headline:
    """What a reader in a hurry should know.

    Attributes:
        best: the method with the highest hole PSNR.
        score: its hole PSNR, dB.
        gains: over the mean colour and over the best method of the other kind, as far as there are such.
    """

    best: Evaluation
    score: Estimate
    gains: list[Gain]


def find_headline(evaluations: list[Evaluation], resamples: Resamples) -> Headline:
    """Find the best method, and how far ahead it is of what it should beat."""
    ranked = sorted(evaluations, key=lambda one: -one.scores["hole_psnr"].mean())
    best = ranked[0]
    rivals = [("mean fill", one) for one in ranked[1:] if one.key == "mean"]
    role = "best classical method" if best.trained else "best trained model"
    rivals += [
        (f"{one.label}, the {role}", one) for one in ranked if one.trained != best.trained and one.key != "mean"
    ][:1]
    gains = [
        Gain(words, resamples.estimate((best.scores["hole_psnr"] - one.scores["hole_psnr"]).to_numpy()))
        for words, one in rivals
    ]
    return Headline(best, resamples.estimate(best.scores["hole_psnr"].to_numpy()), gains)


@dataclass(frozen=True)
class Cell:
    """A number of a table: as printed, and whether none in its column is better."""

    text: str
    best: bool


def by_cell(evaluations: list[Evaluation]) -> tuple[list[tuple[str, int]], list[list[Cell]]]:
    """Tabulate hole PSNR, methods by kinds of holes.

    Returns:
        the columns with their numbers of pairs (the buckets of the hole ratio, then without and with border), and a
        row a method.
    """
    pairs = evaluations[0].scores
    columns = [(str(name), pairs["bucket"] == bucket) for bucket, name in enumerate(evaluations[0].by_ratio["holes"])]
    columns += [("no border", ~pairs["border"]), ("border", pairs["border"])]
    means = np.array([[one.scores.loc[rows, "hole_psnr"].mean() for _, rows in columns] for one in evaluations])
    printed = [_mark(means[:, number], 2, more_is_better=True) for number in range(len(columns))]
    return [(name, int(rows.sum())) for name, rows in columns], _transpose(printed)


def all_scores(evaluations: list[Evaluation]) -> list[list[Cell]]:
    """Tabulate the means of all `SCORES`, a row a method."""
    printed = [
        _mark(np.array([one.scores[name].mean() for one in evaluations]), decimals, more_is_better)
        for name, _, _, decimals, more_is_better in SCORES
    ]
    return _transpose(printed)


def _mark(values: npt.NDArray[np.float64], decimals: int, more_is_better: bool) -> list[Cell]:
    """Equal as printed is equally good."""
    rounded = values.round(decimals)
    best = rounded.max() if more_is_better else rounded.min()
    return [Cell(f"{value:.{decimals}f}", bool(value == best)) for value in rounded]


def _transpose(columns: list[list[Cell]]) -> list[list[Cell]]:
    return [list(row) for row in zip(*columns, strict=True)]


def as_table(evaluations: list[Evaluation], resamples: Resamples) -> pd.DataFrame:
    """Return methods by scores for other programs: the means of `SCORES`, and the interval of the hole PSNR."""
    rows: list[dict[str, Any]] = []
    for one in evaluations:
        estimate = resamples.estimate(one.scores["hole_psnr"].to_numpy())
        means = {name: float(one.scores[name].mean()) for name, *_ in SCORES}
        rows.append({"method": one.key, **means, "hole_psnr_low": estimate.low, "hole_psnr_high": estimate.high})
    return pd.DataFrame(rows)
