"""The GAN's objective on hand-made logits."""

import math

import pytest
import torch

from stages.pix2pix.losses import discriminator_loss, distances, generator_loss, l1, share_of

EVERYWHERE = torch.ones(2, 1, 3, 4)


@pytest.mark.parametrize("objective", ["vanilla", "least_squares"])
def test_a_perfect_discriminator_loses_nothing(objective: str) -> None:
    sure = 50.0 if objective == "vanilla" else 1.0
    real, fake = torch.full((2, 1, 3, 4), sure), torch.full((2, 1, 3, 4), -sure if objective == "vanilla" else 0.0)
    assert discriminator_loss(real, fake, EVERYWHERE, objective).item() == pytest.approx(0, abs=1e-6)


def test_an_undecided_discriminator_loses_ln_2() -> None:
    undecided = torch.zeros(2, 1, 3, 4)
    assert discriminator_loss(undecided, undecided, EVERYWHERE, "vanilla").item() == pytest.approx(math.log(2))
    assert distances(undecided, EVERYWHERE, "least_squares").mean().item() == 1


def test_only_what_is_missing_is_fake() -> None:
    hole = torch.zeros(1, 1, 8, 8)
    hole[..., :4, :4] = 1
    logits = torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]]])  # it says where the hole is
    fakeness = share_of(hole, logits)
    assert fakeness.flatten().tolist() == [1, 0, 0, 0]
    assert discriminator_loss(torch.ones_like(logits), logits, fakeness, "least_squares").item() == 0
    assert generator_loss(logits, fakeness, "least_squares").item() == 1  # known patches, called real, are no success


def test_half_a_patch_is_half_fake() -> None:
    hole = torch.zeros(1, 1, 4, 4)
    hole[..., :2] = 1
    assert share_of(hole, torch.zeros(1, 1, 1, 1)).item() == 0.5


def test_the_distance_is_measured_on_the_papers_scale() -> None:
    assert l1(torch.ones(1, 3, 2, 4), torch.zeros(1, 3, 2, 4)).item() == 2
