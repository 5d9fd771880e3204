"""Methods compared: means, intervals, and which method is best in each column."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import pandas as pd

from stages.comparing.bootstrap import Estimate, Resamples
from stages.comparing.scores import SCORES, Score
from stages.report.reading import Evaluation, listed


class Compared(Protocol):
    """A method with one row of scores per question; all methods answer the same questions."""

    @property
    def label(self) -> str:
        """The method's name for people."""

    @property
    def trained(self) -> bool:
        """Whether the method is a trained model."""

    @property
    def scores(self) -> pd.DataFrame:
        """One row per question, one column per score."""


Method = TypeVar("Method", bound=Compared)


def scores_of(evaluations: list[Evaluation]) -> list[Score]:
    """Return the scores that every method has; perceptual ones are optional."""
    return [score for score in SCORES if all(score.name in one.scores for one in evaluations)]


@dataclass(frozen=True)
class Headline(Generic[Method]):
    """Who leads, by how much, and how sure that is.

    Attributes:
        best: the method with the best mean of `score`.
        score: the score that decides.
        estimate: mean and interval of the best.
        tied: methods that this test cannot tell from the best.
        rival: the best method of the other kind (trained or classical), if there is one.
        ahead: lead of the best over `rival`; positive is better for every score.
    """

    best: Method
    score: Score
    estimate: Estimate
    tied: list[Method]
    rival: Method | None
    ahead: Estimate | None


def find_headline(methods: Sequence[Method], resamples: Resamples, score: Score) -> Headline[Method]:
    """Find the best method, those that cannot be told from it, and its lead over the best of the other kind."""
    best, *others = ranked(methods, score)

    def ahead_of(one: Method) -> Estimate:
        return resamples.estimate(score.goodness(best.scores[score.name]) - score.goodness(one.scores[score.name]))

    rival = next((one for one in others if one.trained != best.trained), None)
    tied = [one for one in others if ahead_of(one).low <= 0]
    estimate = resamples.estimate(best.scores[score.name])
    return Headline(best, score, estimate, tied, rival, ahead_of(rival) if rival else None)


def ranked(methods: Sequence[Method], score: Score) -> list[Method]:
    """Sort the methods by the mean of a score, the best first."""
    return sorted(methods, key=lambda one: -float(score.goodness(one.scores[score.name]).mean()))


_IN_WORDS = ("", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
_MOST_NAMES = 3  # in a title


def title(headline: Headline[Method], wins: str, where: str) -> str:
    """Write the title: who leads, or which methods tie.

    Args:
        headline: what was found.
        wins: verb phrase for a sole leader.
        where: on which test, at the end.
    """
    names = [headline.best.label, *(one.label for one in headline.tied)]
    if len(names) == 1:
        return f"{names[0]} {wins} {where}"
    if len(names) <= _MOST_NAMES:
        return f"{listed(names)} tie {where}"
    return f"{_IN_WORDS[len(names)] if len(names) < len(_IN_WORDS) else len(names)} methods tie {where}"


def reference(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """Return the method with the highest hole PSNR among those not trained here, without the mean colour."""
    rivals = [one for one in evaluations if not one.trained and one.key != "mean"]
    return max(rivals, key=lambda one: float(one.scores["hole_psnr"].mean()), default=None)


def beyond_reference(evaluations: Sequence[Evaluation], score: str) -> dict[str, pd.Series]:
    """Return each method's means by bucket minus those of `reference`, by key; the means themselves without one.

    The hole ratio moves all methods together, so that the means themselves would coincide in a chart. The mean colour
    is left out, since it would flatten the other lines.
    """
    base = reference(evaluations)
    return {
        one.key: one.by_ratio[score] - (base.by_ratio[score] if base else 0.0)
        for one in evaluations
        if one.key != "mean" or len(evaluations) == 1
    }


@dataclass(frozen=True)
class Cell:
    """A number in a table.

    Attributes:
        text: as printed.
        best: whether it is the best of its column, after rounding, if it is compared.
        tied: whether this test cannot tell it from the best of its column.
        interval: its 95 % interval as printed.
    """

    text: str
    best: bool
    tied: bool = False
    interval: str = ""


def columns_of(evaluations: list[Evaluation]) -> list[tuple[str, pd.Series]]:
    """Return the kinds of holes by name, with a mask of their pairs: ratio buckets, then without and with border."""
    pairs = evaluations[0].scores
    columns = [(str(name), pairs["bucket"] == bucket) for bucket, name in enumerate(evaluations[0].by_ratio["holes"])]
    return [*columns, ("no border", ~pairs["border"]), ("border", pairs["border"])]


def by_cell(evaluations: list[Evaluation], resamples: Resamples, score: Score = SCORES[0]) -> list[list[Cell]]:
    """Tabulate a score: one row per method, one column per kind of hole as in `columns_of`."""
    return _transpose([column(evaluations, resamples, score, among) for _, among in columns_of(evaluations)])


def all_scores(evaluations: list[Evaluation], resamples: Resamples, scores: Sequence[Score]) -> list[list[Cell]]:
    """Tabulate the means of some scores, one row per method."""
    every = pd.Series(True, index=evaluations[0].scores.index)
    return _transpose([column(evaluations, resamples, score, every) for score in scores])


def column(evaluations: Sequence[Compared], resamples: Resamples, score: Score, among: pd.Series) -> list[Cell]:
    """Tabulate the mean of a score over some questions, one cell per method."""
    estimates = [resamples.estimate(one.scores[score.name], among) for one in evaluations]
    rounded = np.array([estimate.mean for estimate in estimates]).round(score.decimals)
    if np.isnan(rounded).all():
        return [Cell("-", best=False) for _ in evaluations]
    goodness = score.goodness(pd.Series(rounded))
    best = int(np.nanargmax(goodness))
    cells = []
    for one, estimate, value, good in zip(evaluations, estimates, rounded, goodness, strict=True):
        is_best = bool(good == goodness[best])
        text = "-" if np.isnan(value) else f"{value:.{score.decimals}f}"
        tied = False
        if score.is_compared and not is_best:
            lead = score.goodness(evaluations[best].scores[score.name]) - score.goodness(one.scores[score.name])
            tied = bool(resamples.estimate(lead, among).low <= 0)
        interval = in_words(estimate, score.decimals) if score.name != "milliseconds" else ""
        cells.append(Cell(text, score.is_compared and is_best, tied, interval))
    return cells


def in_words(estimate: Estimate, decimals: int, signed: bool = False) -> str:
    """Print an interval, as "21.4 to 23.0"."""
    form = f"{'+' if signed else ''}z.{decimals}f"
    return "" if np.isnan(estimate.low) else f"{estimate.low:{form}} to {estimate.high:{form}}"


@dataclass(frozen=True)
class Strip:
    """Positions of an interval, its mean and optionally 0, in % of the length of a line."""

    low: float
    mean: float
    high: float
    zero: float | None = None


def interval_strips(estimates: Sequence[Estimate], zero: bool = False) -> list[Strip]:
    """Place the intervals of several means on one scale.

    Args:
        estimates: at least one.
        zero: whether to include and mark 0.
    """
    ends = [end for one in estimates for end in (one.low, one.high)] + [0.0] * zero
    low, span = min(ends), (max(ends) - min(ends)) or 1.0

    def place(value: float) -> float:
        return round(100 * (value - low) / span, 1)

    origin = place(0) if zero else None
    return [Strip(place(one.low), place(one.mean), place(one.high), origin) for one in estimates]


def _transpose(columns: list[list[Cell]]) -> list[list[Cell]]:
    return [list(row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Difference:
    """A method's lead over another: mean and interval as printed, and the side of 0 as in `Estimate`."""

    text: str
    interval: str
    side: int


def differences(evaluations: list[Evaluation], resamples: Resamples) -> list[list[Difference | None]]:
    """Tabulate the paired hole PSNR of the row's method minus the column's; None on the diagonal."""

    def between(one: Evaluation, other: Evaluation) -> Difference | None:
        if one is other:
            return None
        ahead = resamples.estimate(one.scores["hole_psnr"] - other.scores["hole_psnr"])
        return Difference(f"{ahead.mean:+z.2f}", in_words(ahead, 2, signed=True), ahead.side)

    return [[between(one, other) for other in evaluations] for one in evaluations]


def as_table(evaluations: list[Evaluation], resamples: Resamples) -> pd.DataFrame:
    """Return scores.csv: one row per method with its means, and the interval of its hole PSNR."""
    rows: list[dict[str, Any]] = []
    for one in evaluations:
        estimate = resamples.estimate(one.scores["hole_psnr"])
        means = {score.name: float(one.scores[score.name].mean()) for score in scores_of(evaluations)}
        rows.append({"method": one.key, **means, "hole_psnr_low": estimate.low, "hole_psnr_high": estimate.high})
    return pd.DataFrame(rows)


def differences_table(evaluations: list[Evaluation], resamples: Resamples) -> pd.DataFrame:
    """Return differences.csv: `method` minus `other` for each score, with its interval."""
    rows = [
        {"method": one.key, "other": other.key, "score": score.name,
         **vars(estimate := resamples.estimate(one.scores[score.name] - other.scores[score.name])),
         "distinguishable": estimate.side != 0}
        for score in scores_of(evaluations) if score.is_compared
        for number, one in enumerate(evaluations)
        for other in evaluations[number + 1 :]
    ]  # fmt: skip
    return pd.DataFrame(rows)
