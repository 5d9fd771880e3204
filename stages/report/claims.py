"""Questions about the methods, answered from the scores.

The 95 % interval of the paired difference alone chooses the answer: if it contains 0, this test cannot tell. Questions
about methods that were not scored are left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from stages.comparing.bootstrap import Estimate, Resamples
from stages.report.comparison import columns_of, in_words, scores_of
from stages.report.reading import Evaluation, Training, said_of_kept, twins

IRREGULAR = ("strokes", "blobs", "files")  # kinds of holes that no few rectangles make up
NUM_PICTURES = 3
_OF_AUGMENTATION = "Does augmentation help PConvNet?"


@dataclass(frozen=True)
class Row:
    """A difference behind an answer.

    Attributes:
        name: of the pairs or of the score.
        text: the mean as printed.
        interval: its 95 % interval as printed.
        estimate: both as numbers.
        unit: of the difference.
        is_error: whether less is better.
    """

    name: str
    text: str
    interval: str
    estimate: Estimate
    unit: str
    is_error: bool = False

    @property
    def verdict(self) -> int:
        """1: the first method is better, -1: the second is, 0: this test cannot tell."""
        return -self.estimate.side if self.is_error else self.estimate.side


@dataclass(frozen=True)
class Claim:
    """A question with its answer.

    Attributes:
        anchor: id in the page.
        question: as people ask it.
        answer: a word or two.
        sentence: what the numbers support.
        difference: what `rows` are differences of.
        rows: the numbers.
        methods: keys of the two methods; differences are the first minus the second.
        pictures: rows of the scores where the first was least ahead, in the middle and most ahead.
    """

    anchor: str
    question: str
    answer: str
    sentence: str
    difference: str
    rows: list[Row]
    methods: tuple[str, str]
    pictures: list[int] = field(default_factory=list)


def find_claims(
    evaluations: Sequence[Evaluation], resamples: Resamples, shown: Sequence[int], trainings: Sequence[Training] = ()
) -> list[Claim]:
    """Answer the questions whose methods were scored.

    Args:
        evaluations: of all methods.
        resamples: of the photographs behind their pairs.
        shown: rows of the scores that have pictures.
        trainings: of the models trained here.
    """
    by_key, same = {one.key: one for one in evaluations}, twins(trainings)
    asked: list[tuple[tuple[str, str], Callable[..., Claim]]] = [
        (("pconv", "unet"), _partial_convolution),
        (("pconv_augmented", "pconv"), _augmentation),
        (("pix2pix", "pconv_augmented"), _sharper),
    ]
    claims = []
    for keys, ask in asked:
        if by_key.keys() >= set(keys):
            one, other = (by_key[same.get(key, key)] for key in keys)
            claim = _not_told(keys) if one is other else ask(one, other, resamples, shown)
            kept = said_of_kept(training for training in trainings if training.key in keys)
            claims.append(replace(claim, sentence=f"{kept} {claim.sentence}") if kept else claim)
    return claims


def _not_told(keys: tuple[str, str]) -> Claim:
    """Answer the question about augmentation where both models kept the same start weights."""
    sentence = "Both are the same model. Longer trainings, or some from random weights (start_from: none), would tell."
    return Claim("augmentation", _OF_AUGMENTATION, "Cannot be told", sentence, "", [], keys)


def _partial_convolution(one: Evaluation, other: Evaluation, resamples: Resamples, shown: Sequence[int]) -> Claim:
    irregular = one.scores["kind"].isin(IRREGULAR)
    rows = _by_ratio(one, other, resamples, irregular)
    answer, sentence = _in_a_sentence(
        rows[0].estimate, "PConvNet", "the same network with ordinary convolutions", "on irregular holes"
    )
    ahead = [row.name for row in rows[1:] if row.estimate.side > 0]
    behind = [row.name for row in rows[1:] if row.estimate.side < 0]
    buckets = f" It is surely ahead in {len(ahead)} of {len(rows) - 1} buckets of the hole ratio"
    buckets += f" and surely behind in {len(behind)}." if behind else "."
    question = "Does PConvNet beat ordinary convolution on irregular holes?"
    difference = "hole PSNR of pconv minus unet, pairs with strokes, blobs or given holes"
    pictures = _pictures(one, other, shown)
    return Claim("partial", question, answer, sentence + buckets, difference, rows, (one.key, other.key), pictures)


def _augmentation(one: Evaluation, other: Evaluation, resamples: Resamples, shown: Sequence[int]) -> Claim:
    rows = _by_ratio(one, other, resamples, pd.Series(True, index=one.scores.index))
    answer, sentence = _in_a_sentence(
        rows[0].estimate, "PConvNet with augmented tiles", "PConvNet without them, after as many steps,", "on all pairs"
    )
    difference = "hole PSNR of pconv_augmented minus pconv"
    return Claim(
        "augmentation",
        _OF_AUGMENTATION,
        answer,
        sentence,
        difference,
        rows,
        (one.key, other.key),
        _pictures(one, other, shown),
    )


def _sharper(one: Evaluation, other: Evaluation, resamples: Resamples, shown: Sequence[int]) -> Claim:
    by_name = {score.name: score for score in scores_of([one, other])}
    rows = [
        _row(
            score.label,
            resamples.estimate(one.scores[name] - other.scores[name]),
            score.unit.replace("%", "% of the range"),  # no share of the other's error
            score.decimals,
            is_error=score.best == "less",
        )
        for name in ("sharpness", "hole_psnr", "hole_l1_percent", "perceptual")
        if (score := by_name.get(name))
    ]
    sharper, psnr = rows[0].estimate, rows[1].estimate
    levels = [f"{evaluation.scores['sharpness'].mean():.2f}" for evaluation in (one, other)]
    start = {
        1: f"Pix2Pix is sharper: its gradient energy in the holes is {levels[0]} of the target's, "
        f"PConvNet's {levels[1]}",
        -1: f"Pix2Pix is less sharp: its gradient energy in the holes is {levels[0]} of the target's, "
        f"PConvNet's {levels[1]}",
        0: f"This test cannot tell: gradient energy in the holes is {levels[0]} of the target's for Pix2Pix, "
        f"{levels[1]} for PConvNet",
    }[sharper.side]
    cost = {
        1: f", and it is {abs(psnr.mean):.2f} dB ahead in hole PSNR.",
        -1: f", and it costs {abs(psnr.mean):.2f} dB of hole PSNR.",
        0: ", and no difference in hole PSNR can be told.",
    }[psnr.side]
    answer = {1: "Yes", -1: "No", 0: "Cannot be told"}[sharper.side]
    question = "Is Pix2Pix sharper than PConvNet, and at what cost in error?"
    difference = "pix2pix minus pconv_augmented, both trained on augmented tiles"
    pictures = _pictures(one, other, shown)
    return Claim("sharper", question, answer, start + cost, difference, rows, (one.key, other.key), pictures)


def _by_ratio(one: Evaluation, other: Evaluation, resamples: Resamples, among: pd.Series) -> list[Row]:
    ahead = one.scores["hole_psnr"] - other.scores["hole_psnr"]
    rows = [_row("all of them", resamples.estimate(ahead, among), "dB", 2)]
    return rows + [
        _row(name, resamples.estimate(ahead, among & of_column), "dB", 2)
        for name, of_column in columns_of([one])[:-2]
        if (among & of_column).any()
    ]


def _row(name: str, estimate: Estimate, unit: str, decimals: int, is_error: bool = False) -> Row:
    text, interval = f"{estimate.mean:+z.{decimals}f}", in_words(estimate, decimals, signed=True)
    return Row(name, text, interval, estimate, unit, is_error)


def _in_a_sentence(ahead: Estimate, one: str, other: str, where: str) -> tuple[str, str]:
    """Choose the answer and the sentence by the side of 0 on which the interval lies."""
    interval = f"95 % interval {in_words(ahead, 2, signed=True)} dB"
    if ahead.side == 0:
        return "Cannot be told", (
            f"This test cannot tell {one} from {other} {where}: the difference in hole PSNR is {ahead.mean:+z.2f} dB "
            f"({interval})."
        )
    word, answer = ("ahead of", "Yes") if ahead.side > 0 else ("behind", "No")
    return answer, f"{one} is {abs(ahead.mean):.2f} dB of hole PSNR {word} {other} {where} ({interval})."


def _pictures(one: Evaluation, other: Evaluation, shown: Sequence[int]) -> list[int]:
    """Choose the rows with pictures where the difference is least, in the middle and most."""
    ahead = (one.scores["hole_psnr"] - other.scores["hole_psnr"]).iloc[list(shown)].sort_values(kind="stable")
    places = np.linspace(0, len(ahead) - 1, min(NUM_PICTURES, len(ahead))).round().astype(int)
    return [int(ahead.index[place]) for place in places]
