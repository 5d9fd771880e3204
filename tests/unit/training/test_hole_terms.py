"""Tests of the loss terms that look at composites in holes."""

import pytest
import torch

from stages.imaging.repetition import repetition_loss
from stages.pconv.module import PConvModule, PConvSettings
from stages.training.module import MicroBatch
from tests.factories import UNET

SIZE = 64


@pytest.fixture
def batch() -> MicroBatch:
    target, hole = (
        torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)),
        torch.zeros(2, 1, SIZE, SIZE),
    )
    hole[..., 8:56, 10:54] = 1
    return MicroBatch(target * (1 - hole), hole, target)


def terms(batch: MicroBatch, prediction: torch.Tensor, **weights: float) -> dict[str, torch.Tensor]:
    module = PConvModule(PConvSettings(**{**UNET, **weights}))
    return module.with_hole_terms({"loss": torch.tensor(1.0), "l1": torch.tensor(1.0)}, prediction, batch)


def test_a_pattern_in_the_hole_costs_by_its_weight(batch: MicroBatch) -> None:
    pattern = batch.target[..., :16, :16].repeat(1, 1, 4, 4)
    found = terms(batch, pattern, repetition_weight=3.0)
    composed = torch.where(batch.hole > 0.5, pattern, batch.target)
    assert found["repetition"].item() == pytest.approx(repetition_loss(composed, batch.target, batch.hole).item())
    assert found["loss"].item() == pytest.approx(1 + 3 * found["repetition"].item())
    assert found["repetition"].item() > 0.1
    assert terms(batch, batch.target, repetition_weight=3.0)["loss"].item() == 1


def test_features_cost_by_their_weight(batch: MicroBatch) -> None:
    found = terms(batch, torch.full_like(batch.target, 0.5), hole_perceptual_weight=2.0)
    assert found["loss"].item() == pytest.approx(1 + 2 * found["hole_perceptual"].item())
    assert found["hole_perceptual"].item() > 0.1


def test_terms_without_weight_are_not_computed(batch: MicroBatch) -> None:
    assert set(terms(batch, batch.target)) == {"loss", "l1"}
