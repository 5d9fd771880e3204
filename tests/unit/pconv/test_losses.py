"""The five terms: hand-made values, and what each public implementation gets wrong."""

import pytest
import torch
from torch import Tensor

from stages.inpainting.composite import composite
from stages.pconv.losses import Weights, feature_losses, gram, hole_loss, loss_terms, tv_loss, valid_loss


def ones_features(picture: Tensor) -> list[Tensor]:
    return [picture, picture[..., ::2, ::2] * 2]


def hole_of(*cells: tuple[int, int], size: tuple[int, int] = (5, 7)) -> Tensor:
    hole = torch.zeros(1, 1, *size)
    for row, column in cells:
        hole[..., row, column] = 1
    return hole


def test_l1_terms_are_means_over_the_whole_picture() -> None:
    target, filled = torch.zeros(1, 3, 4, 6), torch.full((1, 3, 4, 6), 0.5)
    small, large = hole_of((0, 0), size=(4, 6)), hole_of((0, 0), (0, 1), size=(4, 6))
    assert hole_loss(filled, target, small).item() == pytest.approx(0.5 / 24)
    assert hole_loss(filled, target, large).item() == pytest.approx(2 * 0.5 / 24)  # twice the hole, twice the loss
    assert valid_loss(filled, target, small).item() == pytest.approx(0.5 * 23 / 24)


def test_gram_of_ones_does_not_depend_on_size() -> None:
    for h, w in ((4, 6), (8, 3)):
        torch.testing.assert_close(gram(torch.ones(2, 5, h, w)), torch.full((2, 5, 5), 1 / 5))


def test_style_of_doubled_features() -> None:
    target = torch.ones(1, 3, 4, 6)
    everything = torch.ones(1, 1, 4, 6)
    _, style = feature_losses(2 * target, target, everything, lambda picture: [picture])
    assert style.item() == pytest.approx(2 * 3 / 3)  # raw and composite, each 3 / C


def test_gram_stays_finite_in_half_precision() -> None:
    features = torch.full((1, 8, 64, 48), 60.0, dtype=torch.float16)
    with torch.autocast("cpu", torch.bfloat16):
        assert gram(features).dtype == torch.float32
    assert torch.isfinite(gram(features)).all()


def test_total_variation_on_a_hand_made_case() -> None:
    composed = torch.zeros(1, 1, 5, 7)
    composed[..., 2, 3] = 1.0
    # The hole's dilation is the 3 x 3 block around it: four neighbour pairs differ by 1.
    assert tv_loss(composed, hole_of((2, 3))).item() == pytest.approx(4 / 35)


def test_total_variation_ignores_the_edge_of_its_region() -> None:
    hole = hole_of((2, 3))
    composed = torch.zeros(1, 3, 5, 7)
    composed[..., 1:4, 2:5] = 1.0  # constant on the dilated hole, a step right outside it
    assert tv_loss(composed, hole).item() == 0
    assert tv_loss(torch.rand(1, 3, 5, 7), torch.zeros_like(hole)).item() == 0


def test_losses_leave_their_arguments_alone() -> None:
    hole, target, filled = hole_of((2, 3), (2, 4)), torch.rand(1, 3, 5, 7), torch.rand(1, 3, 5, 7)
    before = [t.clone() for t in (hole, target, filled)]
    loss_terms(filled, target, hole, Weights(), ones_features)
    assert all(torch.equal(a, b) for a, b in zip(before, (hole, target, filled), strict=True))


def test_gradient_reaches_the_answer_through_features_and_composite() -> None:
    target, hole = torch.rand(1, 3, 5, 7), hole_of((2, 3))
    filled = torch.rand(1, 3, 5, 7, requires_grad=True)
    for loss in feature_losses(filled, target, hole, ones_features):
        (gradient,) = torch.autograd.grad(loss, filled, retain_graph=True)
        assert (gradient[..., 0, 0] != 0).all()  # a known pixel: through the raw answer alone
        assert (gradient[..., 2, 3] != 0).any()  # of style, signs of a channel may cancel
    (through,) = torch.autograd.grad(composite(target, filled, hole).sum(), filled)
    assert torch.equal(through, hole.expand_as(filled))


def test_the_sum_is_weighted_as_the_paper_says() -> None:
    target, filled, hole = torch.rand(1, 3, 5, 7), torch.rand(1, 3, 5, 7), hole_of((2, 3), (3, 3))
    terms = loss_terms(filled, target, hole, Weights(), ones_features)
    wanted = terms["valid"] + 6 * terms["hole"] + 0.05 * terms["perceptual"] + 120 * terms["style"] + 0.1 * terms["tv"]
    torch.testing.assert_close(terms["loss"], wanted)


def test_a_term_without_weight_is_not_computed() -> None:
    terms = loss_terms(torch.rand(1, 3, 5, 7), torch.rand(1, 3, 5, 7), hole_of((1, 1)), Weights(1, 6, 0, 0, 0), None)
    assert set(terms) == {"loss", "valid", "hole"}


def test_weighted_features_have_to_be_given() -> None:
    with pytest.raises(ValueError, match="no features are given"):
        loss_terms(torch.rand(1, 3, 5, 7), torch.rand(1, 3, 5, 7), hole_of((1, 1)), Weights(), None)
