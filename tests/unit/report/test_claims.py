from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from stages.comparing.bootstrap import Resamples
from stages.report.claims import find_claims
from stages.report.reading import Evaluation, Training

PHOTOS = 30
KEPT = "kept the weights they started from: 1,200 steps of fine-tuning gained nothing."
SHOWN = [1, 2, 3, 4, 6, 7, 8]


def evaluation(key: str, ahead_db: float, sharpness: float = 0.5, sure: bool = True) -> Evaluation:
    """Six pairs a photo; where it is not sure, every second photo turns the difference round."""
    number = np.arange(6 * PHOTOS)
    photo = number // 6
    turned = 0.0 if sure else 3.0 * (-1.0) ** photo
    scores = pd.DataFrame(
        {
            "photo": photo.astype(str), "bucket": number % 6, "border": number % 2 == 0, "kind": "strokes",
            "hole_psnr": 20 + ahead_db + turned, "sharpness": sharpness, "hole_l1_percent": 5 - ahead_db,
        }
    )  # fmt: skip
    scores.loc[number % 5 == 0, ["kind", "hole_psnr"]] = ["boxes", 40 * ahead_db]
    by_ratio = pd.DataFrame({"holes": [f"bucket {bucket}" for bucket in range(6)]})
    return Evaluation(key, True, scores, by_ratio, {})


def claims(*evaluations: Evaluation, trainings: Sequence[Training] = ()) -> dict:
    resamples = Resamples(evaluations[0].scores["photo"], np.random.default_rng(0))
    return {claim.anchor: claim for claim in find_claims(evaluations, resamples, SHOWN, trainings)}


@pytest.mark.parametrize(
    ("ahead", "sure", "answer", "sentence"),
    [
        (1.0, True, "Yes", "PConvNet is 1.00 dB of hole PSNR ahead of the same network with ordinary convolutions"),
        (-1.0, True, "No", "PConvNet is 1.00 dB of hole PSNR behind the same network with ordinary convolutions"),
        (0.1, False, "Cannot be told", "This test cannot tell PConvNet from the same network"),
    ],
)
def test_the_interval_chooses_the_sentence(ahead, sure, answer, sentence):
    claim = claims(evaluation("unet", 0), evaluation("pconv", ahead, sure=sure))["partial"]
    assert claim.answer == answer
    assert claim.sentence.startswith(sentence)
    assert [row.name for row in claim.rows] == ["all of them", *(f"bucket {bucket}" for bucket in range(6))]


def test_only_irregular_holes_count_where_the_question_is_of_them():
    """On boxes the difference is forty times as large."""
    claim = claims(evaluation("unet", 0), evaluation("pconv", 1))["partial"]
    assert claim.rows[0].estimate.mean == pytest.approx(1)


def test_sharper_at_a_cost():
    claim = claims(evaluation("pconv_augmented", 1, 0.3), evaluation("pix2pix", 0, 0.8))["sharper"]
    assert claim.answer == "Yes"
    assert "gradient energy in the holes is 0.80 of the target's, PConvNet's 0.30, and it costs" in claim.sentence
    assert [row.verdict for row in claim.rows] == [1, -1, -1]  # the error is greater, which is worse


def test_questions_whose_methods_are_not_there_are_not_asked():
    assert list(claims(evaluation("pconv", 0), evaluation("mean", 0))) == []
    assert list(claims(evaluation("pconv", 0), evaluation("pconv_augmented", 1))) == ["augmentation"]


def training(key: str, best_step: int) -> Training:
    record = {
        "params": {"start_from": "base", "base": "pconv.safetensors"},
        "inputs": {f"data/start/{key}/weights.safetensors": {"digest": "ba5e"}},
        "summary": {"steps": 1200, "best_step": best_step},
    }
    return Training(key, record, pd.DataFrame(), pd.DataFrame())


@pytest.mark.parametrize(
    ("steps", "answer", "sentence"),
    [
        ((0, 0), "Cannot be told", f"pconv and pconv augmented {KEPT} Both are the same model."),
        ((40, 0), "Yes", f"pconv augmented {KEPT} PConvNet with augmented tiles is"),
        ((40, 80), "Yes", "PConvNet with augmented tiles is 8.80 dB of hole PSNR ahead"),
    ],
)
def test_what_no_step_improved_is_not_compared_with_itself(steps, answer, sentence):
    keys = ("pconv", "pconv_augmented")
    trainings = [training(key, best) for key, best in zip(keys, steps, strict=True)]
    evaluations = [evaluation(key, ahead) for ahead, key in enumerate(keys)]
    claim = claims(*evaluations, evaluation("pix2pix", 0), trainings=trainings)["augmentation"]
    assert claim.answer == answer
    assert claim.sentence.startswith(sentence)


def test_pictures_are_where_it_is_least_and_most_ahead():
    one, other = evaluation("pconv", 0), evaluation("unet", 0)
    one.scores.loc[[2, 7], "hole_psnr"] = [10.0, 30.0]
    claim = claims(one, other)["partial"]
    assert (claim.pictures[0], claim.pictures[-1], len(claim.pictures)) == (2, 7, 3)
