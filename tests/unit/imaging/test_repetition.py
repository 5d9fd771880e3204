"""Tests of the loss and score for patterns that repeat in a fill."""

import pytest
import torch
from torch import Tensor

from stages.imaging import repetition
from stages.imaging.repetition import lattice, repetition_loss

SIZE = 96


def planes(*planes: Tensor) -> Tensor:
    return torch.stack([plane.expand(3, -1, -1) for plane in planes])


def noise(seed: int) -> Tensor:
    return 0.5 + 0.1 * torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def pattern(period: int) -> Tensor:
    """Return noise in one square that is repeated everywhere."""
    return noise(period)[:period, :period].repeat(SIZE // period + 1, SIZE // period + 1)[:SIZE, :SIZE]


@pytest.fixture
def hole() -> Tensor:
    hole = torch.zeros(1, 1, SIZE, SIZE)
    hole[..., 16:76, 12:80] = 1
    return hole


def filled(fill: Tensor, target: Tensor, hole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.where(hole > 0.5, planes(fill), planes(target)), planes(target), hole


@pytest.mark.parametrize("period", [6, 8, 16, 29, 32])
def test_a_pattern_costs_more_than_texture(period: int, hole: Tensor) -> None:
    assert repetition_loss(*filled(pattern(period), noise(1), hole)).item() > 0.12
    assert repetition_loss(*filled(noise(2), noise(1), hole)).item() < 0.05


def test_a_pattern_of_the_target_is_free(hole: Tensor) -> None:
    moved = pattern(16).roll((5, 3), (0, 1))
    assert repetition_loss(*filled(moved, pattern(16), hole)).item() < 0.05


def test_scores_come_first_and_gradients_later(hole: Tensor) -> None:
    repetition._ring.cache_clear()
    repetition._grid.cache_clear()
    made, target, _ = filled(pattern(16), noise(1), hole)
    with torch.inference_mode():
        repetition_loss(made, target, hole)
        lattice(made, target, hole)
    made.requires_grad_()
    (repetition_loss(made, target, hole) + lattice(made, target, hole).sum()).backward()
    assert made.grad is not None
    assert made.grad.abs().max() > 0


def test_an_edge_is_no_pattern(hole: Tensor) -> None:
    step = (torch.arange(SIZE) > SIZE / 2).float().expand(SIZE, SIZE)
    assert repetition_loss(*filled(step, noise(1), hole)).item() < 0.01


@pytest.mark.parametrize("period", [8, 16])
def test_a_lattice_is_found_on_the_grid(period: int, hole: Tensor) -> None:
    assert lattice(*filled(pattern(period), noise(1), hole)).item() > 0.8
    assert lattice(*filled(pattern(32), noise(1), hole)).item() > 0.25  # at two of six lags


STRIPES = noise(3)[:1].expand(SIZE, SIZE)
EDGE = (torch.arange(SIZE) > SIZE / 2).float().expand(SIZE, SIZE)
SLOPE = torch.linspace(0, 1, SIZE).expand(SIZE, SIZE)


@pytest.mark.parametrize(
    "fill",
    [noise(2), pattern(29), torch.full((SIZE, SIZE), 0.5), EDGE, EDGE.mT, STRIPES, STRIPES.mT, SLOPE + noise(2) / 5],
)
@pytest.mark.parametrize("shape", ["square", "bar", "everywhere"])
def test_other_fills_have_no_lattice(fill: Tensor, shape: str, hole: Tensor) -> None:
    if shape == "bar":
        hole = torch.zeros_like(hole)
        hole[..., 40:50, 5:90] = 1
    elif shape == "everywhere":
        hole = torch.ones_like(hole)
    for target in (fill, noise(1)):
        assert lattice(*filled(fill, target, hole)).item() < 0.03


def test_half_precision_around_changes_nothing(hole: Tensor) -> None:
    pictures = filled(pattern(16), noise(1), hole)
    with torch.autocast("cpu", torch.bfloat16):
        half = (lattice(*pictures), repetition_loss(*pictures))
    assert torch.equal(half[0], lattice(*pictures))
    assert torch.equal(half[1], repetition_loss(*pictures))


def test_an_invisible_lattice_hardly_counts(hole: Tensor) -> None:
    faint = 0.5 + (pattern(16) - 0.5) / 50  # half a grey level
    assert lattice(*filled(faint, torch.full((SIZE, SIZE), 0.5), hole)).item() < 0.1
    assert lattice(*filled(0.5 + (pattern(16) - 0.5) / 4, noise(1), hole)).item() < 0.1


def test_known_pixels_do_not_count(hole: Tensor) -> None:
    made, target, _ = filled(noise(2), noise(1), hole)
    around = torch.where(hole > 0.5, made, planes(pattern(16)))
    for score in (lattice, repetition_loss):
        assert torch.allclose(score(around, target, hole), score(made, target, hole), atol=1e-4)


def test_a_pattern_of_colours_counts_too(hole: Tensor) -> None:
    grey = planes(noise(2))
    red = pattern(16) - 0.5
    made = grey + torch.stack([red, red * -0.299 / 0.587, torch.zeros_like(red)])  # of the same luminance
    made, target, _ = torch.where(hole > 0.5, made, planes(noise(1))), planes(noise(1)), hole
    assert repetition_loss(made, target, hole).item() > 0.04
    assert lattice(made, target, hole).item() > 0.2


@pytest.mark.parametrize("size", [16, 40])
def test_small_and_empty_holes_give_zero_and_finite_gradients(size: int) -> None:
    made = torch.rand(2, 3, size, size, requires_grad=True)
    hole = torch.zeros(2, 1, size, size)
    hole[0, :, 4:6, 4:7] = 1
    loss = repetition_loss(made, torch.rand(2, 3, size, size), hole)
    loss.backward()
    assert made.grad is not None
    assert made.grad.isfinite().all()
    assert lattice(made, made, hole).isfinite().all()
    assert lattice(made, made, hole)[1].item() == 0


def test_the_loss_takes_a_lattice_apart_and_keeps_its_contrast(hole: Tensor) -> None:
    made, target, _ = filled(pattern(16), noise(1), hole)
    made.requires_grad_()
    before, inside = made.detach().clone(), hole.expand_as(made) > 0.5
    optimizer = torch.optim.Adam([made], lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss = repetition_loss(made, target, hole)
        loss.backward()
        optimizer.step()
    assert loss.item() < repetition_loss(before, target, hole).item() / 2
    assert made[inside].std().item() > 0.8 * before[inside].std().item()
