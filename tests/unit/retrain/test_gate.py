"""The gate on constructed scores: who becomes champion, and for what reason."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.retrain.gate import Case, Champion, Decision, GateParams, decide, surely_worse
from stages.training.settings import Criterion

PARAMS = GateParams(
    min_gain=0.0,
    max_perceptual_rise=0.01,
    max_bucket_loss_db=0.2,
    max_photo_loss_db=0.3,
    above_classical=False,
    max_slowdown=1.5,
)
BY_PSNR, BY_EYE = (Criterion(score=score, floor_db=0.5) for score in ("hole_psnr", "perceptual"))
PHOTOS = 40


def scores(change: Callable[[pd.DataFrame], Any] = lambda table: 0.0, seed: int = 0) -> pd.DataFrame:
    """240 pairs of 40 photographs, each photograph as hard as it is, with a change of hole PSNR."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {"pair": [f"p{n:03d}" for n in range(240)], "photo": [f"{n % PHOTOS:064x}" for n in range(240)]}
    )
    table["bucket"] = np.arange(240) // 40
    table["hole_psnr"] = 20 + 3 * rng.standard_normal(PHOTOS)[np.arange(240) % PHOTOS]
    table["hole_psnr"] += change(table) + 0.3 * np.random.default_rng(seed).standard_normal(240)
    table["perceptual"] = 0.7
    return table


def judge(candidate: pd.DataFrame, champion: Champion | None, params: GateParams = PARAMS, **known: Any) -> Decision:
    return decide(Case(candidate, champion, **known), params, BY_PSNR, np.random.default_rng(0))


def judge_by_eye(psnr_db: float, perceptual: float, **known: Any) -> Decision:
    noise = 0.01 * np.random.default_rng(3).standard_normal(240)
    candidate = scores(lambda t: psnr_db).assign(perceptual=lambda t: t["perceptual"] + perceptual + noise)
    return decide(Case(candidate, present(), **known), PARAMS, BY_EYE, np.random.default_rng(0))


def test_a_sharper_model_wins_by_the_perceptual_distance() -> None:
    decision = judge_by_eye(-0.3, -0.05)
    assert decision.promoted
    assert decision.reason.startswith("perceptual distance falls by 0.0")
    assert decision.gain is not None
    assert decision.gain.mean == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize(
    ("psnr_db", "perceptual", "check"), [(0.5, 0.0, "gain"), (-1.5, -0.05, "floor"), (0.5, 0.05, "gain")]
)
def test_what_is_no_sharper_or_far_from_the_truth_is_kept_out(psnr_db: float, perceptual: float, check: str) -> None:
    decision = judge_by_eye(psnr_db, perceptual)
    assert not decision.promoted
    assert next(one.name for one in decision.checks if not one.met) == check


def test_photographs_are_not_blamed_for_what_sharpness_costs() -> None:
    assert not surely_worse(judge_by_eye(-0.6, -0.05), 0.3)
    assert surely_worse(judge_by_eye(-0.6, 0.05), 0.3)


def present(**changes: Any) -> Champion:
    return Champion(**{"version": "3", "scores": scores(seed=1), **changes})


def test_a_clear_win_is_promoted_and_says_by_how_much() -> None:
    decision = judge(scores(lambda t: 0.5), present())
    assert decision.promoted
    assert decision.reason.startswith("hole PSNR rises by +0.5")
    assert "over version 3 on 240 pairs of 40 photographs" in decision.reason
    assert decision.gain is not None
    assert 0.3 < decision.gain.low < decision.gain.mean < decision.gain.high < 0.7


def test_a_clear_loss_is_kept_out_and_known_as_one() -> None:
    decision = judge(scores(lambda t: -0.5), present())
    assert not decision.promoted
    assert "not surely more than 0 dB" in decision.reason
    assert surely_worse(decision, 0.3)
    assert not surely_worse(decision, 0.6)


def test_noise_is_no_win() -> None:
    decision = judge(scores(), present())
    assert not decision.promoted
    assert not surely_worse(decision, 0.01)


def test_a_win_on_average_with_one_kind_of_holes_lost_is_kept_out() -> None:
    decision = judge(scores(lambda t: np.where(t["bucket"] == 5, -1.0, 1.0)), present())
    assert not decision.promoted
    assert decision.reason.startswith("with 50 to 60 % missing, hole PSNR changes by -")
    assert [check.name for check in decision.checks if not check.met] == ["bucket 5"]


def test_without_a_champion_only_fitness_counts() -> None:
    assert judge(scores(), None).promoted
    assert not judge(scores(), None, unfinite=("noise, all missing",)).promoted
    assert not judge(scores(), None, unfit=("flat, disc of 40",)).promoted


def test_a_champion_without_an_evaluation_stays() -> None:
    decision = judge(scores(lambda t: 5.0), present(scores=None, problem="model.pt2 is not the registered one"))
    assert not decision.promoted
    assert "could not be scored: model.pt2 is not the registered one" in decision.reason
    assert "evaluation is missing" in judge(scores(), present(scores=None)).reason


def test_other_pairs_are_not_compared() -> None:
    assert "other pairs" in judge(scores(), present(scores=scores().assign(pair="x"))).reason


def test_photographs_that_the_champion_was_trained_on_are_left_out_and_that_is_said() -> None:
    learned = frozenset(f"{n:064x}" for n in range(10))
    # The champion is far better on those it has seen, and worse elsewhere.
    champion = scores(lambda t: np.where(t["photo"].isin(learned), 9.0, -0.5), seed=1)
    assert not judge(scores(), present(scores=champion)).promoted
    decision = judge(scores(), present(scores=champion, seen=learned))
    assert decision.promoted
    assert decision.pairs == 180
    assert "was trained on 10 of the 40 test photographs, which are left out" in decision.notes[0]


def test_a_champion_that_has_seen_every_test_photograph_cannot_be_compared() -> None:
    decision = judge(scores(lambda t: 5.0), present(seen=frozenset(scores()["photo"])))
    assert not decision.promoted
    assert "trained on all test photographs" in decision.reason


def test_where_nobody_knows_what_the_champion_has_seen_that_is_said() -> None:
    assert "may have seen test ones" in judge(scores(lambda t: 0.5), present(seen=None)).notes[0]


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"vetoed": "2026-01-01: grey skies"}, "under a veto: 2026-01-01: grey skies"),
        ({"slowdown": 1.6}, "a prediction takes 1.60 times as long"),
        ({"unfinite": ("noise, all missing",)}, "not finite for: noise, all missing"),
        ({"unfit": ("flat, disc of 40",)}, "flat, disc of 40"),
    ],
)
def test_what_speaks_against_a_better_candidate(known: dict[str, Any], said: str) -> None:
    decision = judge(scores(lambda t: 0.5), present(), **known)
    assert not decision.promoted
    assert said in decision.reason


def test_a_perceptual_distance_that_surely_rises_is_kept_out() -> None:
    decision = judge(scores(lambda t: 0.5).assign(perceptual=0.72), present())
    assert not decision.promoted
    assert decision.reason == "perceptual distance changes by +0.0200 (+0.0200 to +0.0200), surely more than 0.01"


def photographs(perceptual: float = 1.0, hole_psnr: float = 18.0, spread: float = 0.0) -> pd.DataFrame:
    """28 holes in 14 photographs, seven of them those of the first pairs."""
    numbers = np.arange(28)
    table = pd.DataFrame(
        {"id": [f"q{n}" for n in numbers], "photo": [f"{n % 14:064x}" for n in numbers], "sha256": "0"}
    )
    noise = np.where(numbers % 2, spread, -spread)
    return table.assign(perceptual=perceptual + noise / 10, hole_psnr=hole_psnr + noise)


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (photographs(perceptual=1.03), "on photographs perceptual distance changes by +0.0300"),
        (photographs(hole_psnr=17.5), "on photographs hole PSNR changes by -0.50 dB"),
        (photographs().assign(sha256="1"), "version 3, the champion, was scored on other photographs"),
    ],
)
def test_a_candidate_that_surely_loses_on_photographs_is_kept_out(candidate: pd.DataFrame, said: str) -> None:
    decision = judge(scores(lambda t: 0.5), present(photographs=photographs()), photographs=candidate)
    assert not decision.promoted
    assert decision.reason.startswith(said)


@pytest.mark.parametrize("candidate", [photographs(1.009, 17.8), photographs(1.03, 17.4, spread=2.0), None])
def test_photographs_that_cannot_tell_the_two_apart_stop_nothing(candidate: pd.DataFrame | None) -> None:
    decision = judge(scores(lambda t: 0.5), present(photographs=photographs()), photographs=candidate)
    assert decision.promoted
    names = [check.name for check in decision.checks]
    assert ("photographs" in names) == (candidate is not None)


def test_photographs_that_the_champion_was_trained_on_do_not_count() -> None:
    learned = frozenset(f"{n:064x}" for n in range(7))
    champion = photographs().assign(hole_psnr=lambda t: np.where(t["photo"].isin(learned), 30.0, 18.0))
    known = {"photographs": photographs()}
    assert not judge(scores(lambda t: 0.5), present(photographs=champion), **known).promoted
    assert judge(scores(lambda t: 0.5), present(photographs=champion, seen=learned), **known).promoted


def test_a_classical_method_is_a_floor_where_the_params_ask_for_it() -> None:
    strict = PARAMS.model_copy(update={"above_classical": True})
    classical = {"telea": scores(lambda t: -1.0), "biharmonic": scores(lambda t: 2.0)}
    assert judge(scores(lambda t: 0.5), present(), classical=classical).promoted
    decision = judge(scores(lambda t: 0.5), present(), strict, classical=classical)
    assert not decision.promoted
    assert "from that of biharmonic" in decision.reason


def test_few_photographs_are_said_to_be_few() -> None:
    few = scores(lambda t: 0.5).assign(photo=lambda t: t["bucket"].astype(str))
    assert "only 6 test photographs" in judge(few, present()).notes[0]
