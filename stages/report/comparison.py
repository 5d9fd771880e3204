"""Methods against each other: means, how sure they are, and which is best where."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import pandas as pd

from stages.comparing.bootstrap import Estimate, Resamples
from stages.comparing.scores import SCORES, Score
from stages.report.reading import Evaluation, listed


class Compared(Protocol):
    """What a method answered, a model or not: `scores` has a row a question, the same questions for all."""

    @property
    def label(self) -> str:
        """The method's name for people."""

    @property
    def trained(self) -> bool:
        """Whether a model answered."""

    @property
    def scores(self) -> pd.DataFrame:
        """The table."""


Method = TypeVar("Method", bound=Compared)


def scores_of(evaluations: list[Evaluation]) -> list[Score]:
    """Return the columns that every method has; perceptual ones are options."""
    return [score for score in SCORES if all(score.name in one.scores for one in evaluations)]


@dataclass(frozen=True)
class Headline(Generic[Method]):
    """What a reader in a hurry should know.

    Attributes:
        best: the method that is best by `score`.
        score: what decides.
        estimate: of the best.
        tied: the methods that this test cannot tell from it.
        rival: the best of the other kind: of the classical methods, or of the trained models; None without one.
        ahead: how much better the best is than `rival`, more being better.
    """

    best: Method
    score: Score
    estimate: Estimate
    tied: list[Method]
    rival: Method | None
    ahead: Estimate | None


def find_headline(methods: Sequence[Method], resamples: Resamples, score: Score) -> Headline[Method]:
    """Find the best method, what cannot be told from it, and how far it is ahead of what it should beat."""
    best, *others = ranked(methods, score)

    def ahead_of(one: Method) -> Estimate:
        return resamples.estimate(score.goodness(best.scores[score.name]) - score.goodness(one.scores[score.name]))

    rival = next((one for one in others if one.trained != best.trained), None)
    tied = [one for one in others if ahead_of(one).low <= 0]
    estimate = resamples.estimate(best.scores[score.name])
    return Headline(best, score, estimate, tied, rival, ahead_of(rival) if rival else None)


def ranked(methods: Sequence[Method], score: Score) -> list[Method]:
    """Return the methods by the mean of a score, the best first."""
    return sorted(methods, key=lambda one: -float(score.goodness(one.scores[score.name]).mean()))


_IN_WORDS = ("", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
_MOST_NAMES = 3  # in a title


def title(headline: Headline[Method], wins: str, where: str) -> str:
    """Say who won in a few words, or that nobody did.

    Args:
        headline: what was found.
        wins: what the best does where nobody ties with it.
        where: at the end.
    """
    names = [headline.best.label, *(one.label for one in headline.tied)]
    if len(names) == 1:
        return f"{names[0]} {wins} {where}"
    if len(names) <= _MOST_NAMES:
        return f"{listed(names)} tie {where}"
    return f"{_IN_WORDS[len(names)] if len(names) < len(_IN_WORDS) else len(names)} methods tie {where}"


def reference(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """Return the method without training here that has the highest hole PSNR, the mean colour aside."""
    rivals = [one for one in evaluations if not one.trained and one.key != "mean"]
    return max(rivals, key=lambda one: float(one.scores["hole_psnr"].mean()), default=None)


def beyond_reference(evaluations: Sequence[Evaluation], score: str) -> dict[str, pd.Series]:
    """Return how far each method's means by bucket are from those of `reference`, by its key; without one the means.

    The share of missing pixels moves all methods together, so that the means themselves would coincide in a chart. The
    mean colour is left out: it would flatten the others.
    """
    base = reference(evaluations)
    return {
        one.key: one.by_ratio[score] - (base.by_ratio[score] if base else 0.0)
        for one in evaluations
        if one.key != "mean" or len(evaluations) == 1
    }


@dataclass(frozen=True)
class Cell:
    """A number of a table.

    Attributes:
        text: as printed.
        best: whether none in its column is better as printed; times are not compared.
        tied: whether this test cannot tell it from the best of its column.
        interval: its 95 % interval as printed.
    """

    text: str
    best: bool
    tied: bool = False
    interval: str = ""


def columns_of(evaluations: list[Evaluation]) -> list[tuple[str, pd.Series]]:
    """Return the kinds of holes, in words, and which pairs are of each: by ratio, then without and with border."""
    pairs = evaluations[0].scores
    columns = [(str(name), pairs["bucket"] == bucket) for bucket, name in enumerate(evaluations[0].by_ratio["holes"])]
    return [*columns, ("no border", ~pairs["border"]), ("border", pairs["border"])]


def by_cell(evaluations: list[Evaluation], resamples: Resamples, score: Score = SCORES[0]) -> list[list[Cell]]:
    """Tabulate a score: a row a method, a column a kind of holes as in `columns_of`."""
    return _transpose([column(evaluations, resamples, score, among) for _, among in columns_of(evaluations)])


def all_scores(evaluations: list[Evaluation], resamples: Resamples, scores: Sequence[Score]) -> list[list[Cell]]:
    """Tabulate the means of some scores, a row a method."""
    every = pd.Series(True, index=evaluations[0].scores.index)
    return _transpose([column(evaluations, resamples, score, every) for score in scores])


def column(evaluations: Sequence[Compared], resamples: Resamples, score: Score, among: pd.Series) -> list[Cell]:
    """Tabulate the means of one score over some questions, a cell a method."""
    estimates = [resamples.estimate(one.scores[score.name], among) for one in evaluations]
    rounded = np.array([estimate.mean for estimate in estimates]).round(score.decimals)
    if np.isnan(rounded).all():
        return [Cell("-", best=False) for _ in evaluations]
    goodness = score.goodness(pd.Series(rounded))
    best = int(np.nanargmax(goodness))
    compared = score.name != "milliseconds"  # another run on the same machine gives other times
    cells = []
    for one, estimate, value, good in zip(evaluations, estimates, rounded, goodness, strict=True):
        ahead = resamples.estimate(
            score.goodness(evaluations[best].scores[score.name]) - score.goodness(one.scores[score.name]), among
        )
        is_best = bool(good == goodness[best])
        text = "-" if np.isnan(value) else f"{value:.{score.decimals}f}"
        tied = bool(compared and not is_best and ahead.low <= 0)
        interval = in_words(estimate, score.decimals) if compared else ""
        cells.append(Cell(text, compared and is_best, tied, interval))
    return cells


def in_words(estimate: Estimate, decimals: int, signed: bool = False) -> str:
    """Print an interval, as "21.4 to 23.0"."""
    form = f"{'+' if signed else ''}z.{decimals}f"
    return "" if np.isnan(estimate.low) else f"{estimate.low:{form}} to {estimate.high:{form}}"


@dataclass(frozen=True)
class Strip:
    """An interval and its mean, in % along a line, and where 0 is, if that is shown."""

    low: float
    mean: float
    high: float
    zero: float | None = None


def interval_strips(estimates: Sequence[Estimate], zero: bool = False) -> list[Strip]:
    """Lay out the intervals of several means along one scale, for the rows of a table.

    Args:
        estimates: at least one.
        zero: whether 0 is on the scale, and marked.
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
    """How far a method is ahead of another: `text` and `interval` as printed, `side` as `Estimate` has it."""

    text: str
    interval: str
    side: int


def differences(evaluations: list[Evaluation], resamples: Resamples) -> list[list[Difference | None]]:
    """Tabulate hole PSNR of the row's method minus that of the column's, paired; None on the diagonal."""

    def between(one: Evaluation, other: Evaluation) -> Difference | None:
        if one is other:
            return None
        ahead = resamples.estimate(one.scores["hole_psnr"] - other.scores["hole_psnr"])
        return Difference(f"{ahead.mean:+z.2f}", in_words(ahead, 2, signed=True), ahead.side)

    return [[between(one, other) for other in evaluations] for one in evaluations]


def as_table(evaluations: list[Evaluation], resamples: Resamples) -> pd.DataFrame:
    """Return methods by scores for other programs: the means, and the interval of the hole PSNR."""
    rows: list[dict[str, Any]] = []
    for one in evaluations:
        estimate = resamples.estimate(one.scores["hole_psnr"])
        means = {score.name: float(one.scores[score.name].mean()) for score in scores_of(evaluations)}
        rows.append({"method": one.key, **means, "hole_psnr_low": estimate.low, "hole_psnr_high": estimate.high})
    return pd.DataFrame(rows)


def differences_table(evaluations: list[Evaluation], resamples: Resamples) -> pd.DataFrame:
    """Return all paired differences for other programs: `method` minus `other` by score, with its interval."""
    rows = [
        {"method": one.key, "other": other.key, "score": score.name,
         **vars(estimate := resamples.estimate(one.scores[score.name] - other.scores[score.name])),
         "distinguishable": estimate.side != 0}
        for score in scores_of(evaluations) if score.name != "milliseconds"
        for number, one in enumerate(evaluations)
        for other in evaluations[number + 1 :]
    ]  # fmt: skip
    return pd.DataFrame(rows)
