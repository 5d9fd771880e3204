"""The GAN's objective on hand-made logits."""

import math

import pytest
import torch

from stages.pix2pix.losses import discriminator_loss, judge, l1


@pytest.mark.parametrize("objective", ["vanilla", "least_squares"])
def test_a_perfect_discriminator_loses_nothing(objective: str) -> None:
    sure = 50.0 if objective == "vanilla" else 1.0
    real, fake = torch.full((2, 1, 3, 4), sure), torch.full((2, 1, 3, 4), -sure if objective == "vanilla" else 0.0)
    assert discriminator_loss(real, fake, objective).item() == pytest.approx(0, abs=1e-6)


def test_an_undecided_discriminator_loses_ln_2() -> None:
    undecided = torch.zeros(2, 1, 3, 4)
    assert discriminator_loss(undecided, undecided, "vanilla").item() == pytest.approx(math.log(2))
    assert judge(undecided, True, "least_squares").item() == 1


def test_the_distance_is_measured_on_the_papers_scale() -> None:
    assert l1(torch.ones(1, 3, 2, 4), torch.zeros(1, 3, 2, 4)).item() == 2
