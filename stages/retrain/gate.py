"""Decides whether a candidate becomes the champion, both being scored on the same pairs now.

    decision = decide(case, GateParams(...), Criterion(...), np.random.default_rng(seed))
    decision.promoted, decision.reason

All differences are paired, with bootstrap intervals over photographs (`stages.comparing.bootstrap`). Nothing is read or
written here, so tests can construct any case.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from pydantic import Field

from stages.comparing.bootstrap import FEW_PHOTOS, Estimate, Resamples
from stages.imaging.holes import BUCKETS
from stages.runtime.params import Settings
from stages.training.settings import Criterion

_QUESTION = ["id", "sha256"]  # of the photograph test
FAULTS_SAID = 3


class GateParams(Settings):
    """The section `retrain.gate` of params.yaml: when a candidate replaces the champion, on the same test.

    Attributes:
        min_gain: the criterion's score must be significantly better by more than this (its own unit), from 0.
        max_perceptual_rise: allowed significant rise of the perceptual distance, on tiles and photographs.
        max_bucket_loss_db: allowed significant loss of hole PSNR in each bucket and kind of holes, dB.
        max_photo_loss_db: allowed significant loss of hole PSNR on photographs, dB.
        above_classical: whether no classical method may have a higher hole PSNR.
        max_slowdown: allowed ratio of the times per prediction, above 0.
    """

    min_gain: float = Field(ge=0)
    max_perceptual_rise: float = Field(ge=0)
    max_bucket_loss_db: float = Field(ge=0)
    max_photo_loss_db: float = Field(ge=0)
    above_classical: bool
    max_slowdown: float = Field(gt=0)


@dataclass(frozen=True)
class Champion:
    """The model to beat, scored on the candidate's test.

    Attributes:
        version: its number in the registry.
        scores: one row per pair, in the candidate's order; None if it could not be scored.
        problem: why it could not be scored; "" if it was.
        seen: SHA-256 of the test photographs, or their near duplicates, that it was trained or selected on; None if
            unknown.
        photographs: one row per hole in a photograph, likewise; None if that test was not run.
    """

    version: str
    scores: pd.DataFrame | None
    problem: str = ""
    seen: frozenset[str] | None = frozenset()
    photographs: pd.DataFrame | None = None


@dataclass(frozen=True)
class Case:
    """Everything that the gate decides on.

    Attributes:
        scores: the candidate's, one row per pair.
        champion: None if there is none.
        classical: scores of the classical methods on the same pairs, by name.
        slowdown: time per batch, as a ratio to the champion's; 1 without a champion.
        unfinite: extreme pictures for which the candidate's prediction is not finite.
        unfit: surroundings in which the candidate is worse than harmonic inpainting, at most FAULTS_SAID + 1 of them.
        vetoed: why these weights were rolled back before; "" if they were not.
        photographs: the candidate's scores with default settings, one row per hole in a photograph; None if that test
            was not run.
    """

    scores: pd.DataFrame
    champion: Champion | None
    classical: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    slowdown: float = 1.0
    unfinite: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()
    vetoed: str = ""
    photographs: pd.DataFrame | None = None


@dataclass(frozen=True)
class Check:
    """A condition: whether it is met, and a sentence with its numbers."""

    name: str
    met: bool
    words: str


@dataclass(frozen=True)
class Decision:
    """What becomes of a candidate.

    Attributes:
        promoted: whether it passed.
        reason: one sentence.
        checks: all conditions.
        notes: remarks on the numbers.
        gain: over the champion by the criterion, more being better: hole PSNR in dB, or perceptual distance; None if
            they were not compared.
        pairs: number of pairs compared.
        psnr_change: of hole PSNR, dB; None if they were not compared.
    """

    promoted: bool
    reason: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    gain: Estimate | None = None
    pairs: int = 0
    psnr_change: Estimate | None = None


def decide(case: Case, params: GateParams, criterion: Criterion, rng: np.random.Generator) -> Decision:
    """Decide whether the candidate becomes the champion.

    Args:
        case: what to decide on.
        params: the limits.
        criterion: the score that has to improve. If it is the perceptual distance, hole PSNR may fall by the
            criterion's floor more than `params` allow.
        rng: draws the bootstrap samples.
    """
    alone = [*_fitness(case), *_classical(case, params, rng)]
    if case.champion is None:
        return _conclude(alone, "it is the first champion")
    compared, problem, notes = _comparable(case.scores, case.champion)
    if problem:
        return _conclude([*alone, Check("comparable", False, problem)], "", notes)
    candidate, champion = case.scores[compared], case.champion.scores[compared]  # type: ignore[index]
    resamples = Resamples(candidate["photo"], rng)
    change = resamples.estimate(candidate["hole_psnr"] - champion["hole_psnr"])
    by_eye = criterion.score == "perceptual" and "perceptual" in candidate and "perceptual" in champion
    if by_eye:
        gain = resamples.estimate(champion["perceptual"] - candidate["perceptual"])
        params = _with_floor(params, criterion.floor_db)
        checks = [*alone, _gains(gain, by_eye, case.champion.version, params)]
        checks.append(_keeps("floor", "hole PSNR", change, criterion.floor_db))
    else:
        gain = change
        checks = [*alone, _gains(gain, by_eye, case.champion.version, params)]
    checks += _against(candidate, champion, resamples, params)
    checks += _on_photographs(case, params, rng)
    checks.append(_fast_enough(case.slowdown, params))
    if resamples.photos < FEW_PHOTOS:
        notes = (*notes, f"only {resamples.photos} test photographs: the intervals are too narrow")
    on = f"on {len(candidate)} pairs of {resamples.photos} photographs"
    won = f"{_improves(gain, by_eye)} over version {case.champion.version} {on}, and nothing else speaks against"
    return replace(_conclude(checks, won, notes), gain=gain, pairs=len(candidate), psnr_change=change)


def _with_floor(params: GateParams, floor_db: float) -> GateParams:
    """Let hole PSNR fall further: sharper predictions lose some."""
    more = {name: getattr(params, name) + floor_db for name in ("max_bucket_loss_db", "max_photo_loss_db")}
    return params.model_copy(update=more)


def _conclude(checks: list[Check], won: str, notes: tuple[str, ...] = ()) -> Decision:
    failed = [check.words for check in checks if not check.met]
    return Decision(not failed, failed[0] if failed else won, tuple(checks), notes)


def _fitness(case: Case) -> Iterator[Check]:
    if case.vetoed:
        yield Check("no veto", False, f"these weights are under a veto: {case.vetoed}")
    said = ", ".join(case.unfinite)
    words = f"predictions are not finite for: {said}" if said else "every prediction for extreme pictures is finite"
    yield Check("finite", not said, words)
    said = "; ".join(case.unfit[:FAULTS_SAID]) + ("; ..." if len(case.unfit) > FAULTS_SAID else "")
    words = (
        f"some fills are worse than harmonic inpainting: {said}"
        if said
        else "no fill is worse than harmonic inpainting"
    )
    yield Check("fit", not said, words)


def _classical(case: Case, params: GateParams, rng: np.random.Generator) -> Iterator[Check]:
    if not params.above_classical or not case.classical:
        return
    name, best = max(case.classical.items(), key=lambda item: float(item[1]["hole_psnr"].mean()))
    ahead = Resamples(case.scores["photo"], rng).estimate(case.scores["hole_psnr"] - best["hole_psnr"])
    yield Check("above classical", ahead.mean >= 0, f"hole PSNR is {_in_db(ahead)} from that of {name}")


def _comparable(scores: pd.DataFrame, champion: Champion) -> tuple["pd.Series[bool]", str, tuple[str, ...]]:
    """Choose the pairs for a fair comparison: none of photographs that the champion has seen."""
    every = pd.Series(True, index=scores.index)
    if champion.scores is None:
        said = champion.problem or "its evaluation is missing"
        return every, f"version {champion.version}, the champion, could not be scored: {said}", ()
    if not champion.scores["pair"].equals(scores["pair"]):
        return every, f"version {champion.version}, the champion, was scored on other pairs", ()
    if champion.seen is None:
        note = f"nobody knows on which photographs version {champion.version} was trained: it may have seen test ones"
        return every, "", (note,)
    unseen = ~scores["photo"].isin(champion.seen)
    if unseen.all():
        return every, "", ()
    seen, photos = scores.loc[~unseen, "photo"].nunique(), scores["photo"].nunique()
    note = f"version {champion.version} was trained on {seen} of the {photos} test photographs, which are left out"
    if not unseen.any():
        return unseen, f"version {champion.version} was trained on all test photographs: nothing is left to compare", ()
    return unseen, "", (note,)


def _gains(gain: Estimate, by_eye: bool, version: str, params: GateParams) -> Check:
    met = gain.low > params.min_gain
    if by_eye:
        change = f"perceptual distance changes by {-gain.mean:+.4f} ({-gain.high:+.4f} to {-gain.low:+.4f})"
        least = f"less by more than {params.min_gain:g}"
    else:
        change, least = f"hole PSNR changes by {_in_db(gain)}", f"more than {params.min_gain:g} dB"
    change += f" over version {version}"
    return Check("gain", met, change if met else f"{change}, which is not surely {least}")


def _improves(gain: Estimate, by_eye: bool) -> str:
    if by_eye:
        return f"perceptual distance falls by {gain.mean:.4f} ({gain.low:.4f} to {gain.high:.4f})"
    return f"hole PSNR rises by {_in_db(gain)}"


def _keeps(name: str, what: str, change: Estimate, most_db: float) -> Check:
    """Refuse a loss that is significantly larger than allowed."""
    met = change.high >= -most_db
    words = f"{what} changes by {_in_db(change)}"
    return Check(name, met, words + ("" if met else f", surely a loss of more than {most_db:g} dB"))


def _against(
    candidate: pd.DataFrame, champion: pd.DataFrame, resamples: Resamples, params: GateParams
) -> Iterator[Check]:
    if "perceptual" in candidate and "perceptual" in champion:
        rise = resamples.estimate(candidate["perceptual"] - champion["perceptual"])
        yield _perceptual("perceptual", "perceptual distance", rise, params)
    for bucket, (low, high) in enumerate(BUCKETS):
        among = candidate["bucket"] == bucket
        change = resamples.estimate(candidate["hole_psnr"] - champion["hole_psnr"], among)
        if np.isnan(change.mean):
            continue
        words = f"with {100 * low:.0f} to {100 * high:.0f} % missing, hole PSNR changes by {_in_db(change)}"
        met = change.mean >= -params.max_bucket_loss_db
        allowed = f", more than the {params.max_bucket_loss_db:g} dB that a kind of holes may lose"
        yield Check(f"bucket {bucket}", met, words + ("" if met else allowed))


def _on_photographs(case: Case, params: GateParams, rng: np.random.Generator) -> Iterator[Check]:
    """Compare the two on whole photographs that the champion has not seen."""
    candidate, champion = case.photographs, case.champion.photographs if case.champion else None
    if case.champion is None or candidate is None or champion is None:
        return
    if not candidate[_QUESTION].equals(champion[_QUESTION]):
        said = f"version {case.champion.version}, the champion, was scored on other photographs"
        yield Check("photographs", False, said)
        return
    unseen = ~candidate["photo"].isin(case.champion.seen or ())
    candidate, champion = candidate[unseen], champion[unseen]
    if candidate.empty:
        return
    resamples = Resamples(candidate["photo"], rng)
    if "perceptual" in candidate and "perceptual" in champion:
        rise = resamples.estimate(candidate["perceptual"] - champion["perceptual"])
        yield _perceptual("perceptual on photographs", "on photographs perceptual distance", rise, params)
    change = resamples.estimate(candidate["hole_psnr"] - champion["hole_psnr"])
    yield _keeps("photographs", "on photographs hole PSNR", change, params.max_photo_loss_db)


def _perceptual(name: str, what: str, rise: Estimate, params: GateParams) -> Check:
    words = f"{what} changes by {rise.mean:+.4f} ({rise.low:+.4f} to {rise.high:+.4f})"
    met = rise.low <= params.max_perceptual_rise
    return Check(name, met, words + ("" if met else f", surely more than {params.max_perceptual_rise:g}"))


def _fast_enough(slowdown: float, params: GateParams) -> Check:
    words = f"a prediction takes {slowdown:.2f} times as long as the champion's"
    met = slowdown <= params.max_slowdown
    return Check("speed", met, words + ("" if met else f", more than the {params.max_slowdown:g} times allowed"))


def _in_db(estimate: Estimate) -> str:
    return f"{estimate.mean:+.2f} dB ({estimate.low:+.2f} to {estimate.high:+.2f})"


def surely_worse(decision: Decision, by_db: float) -> bool:
    """Return whether a candidate significantly lost more than `by_db` of hole PSNR and gained nothing.

    Then its new photographs are bad. A loss of hole PSNR alone can be the price of sharper predictions.
    """
    if decision.psnr_change is None or decision.gain is None:
        return False
    return decision.psnr_change.high < -by_db and decision.gain.low <= 0
