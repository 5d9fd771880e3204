"""What a network on a membrane sees, and that its answer meets the known pixels."""

import pytest
import torch
from torch import Tensor, nn

from stages.training.harmonic import HarmonicResidual


class Mirror(nn.Module):
    """Answers with what it sees, and keeps it."""

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        self.seen = image
        return image


class Painted(nn.Module):
    """Answers with one picture, whatever it sees."""

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        self.picture = nn.Parameter(picture)

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        return self.picture


@pytest.fixture
def hole() -> Tensor:
    hole = torch.zeros(2, 1, 32, 48)
    hole[0, :, 8:20, 10:30] = 1
    hole[1, :, 20:, 40:] = 1  # in a corner
    return hole


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_what_it_sees_is_around_its_level(image: Tensor, hole: Tensor, level: float) -> None:
    network = HarmonicResidual(mirror := Mirror(), level, 3)
    network(image + torch.linspace(0, 5, 48), hole)  # brightness that changes a lot across the picture
    assert (mirror.seen - level).abs().max() < 1.5
    assert mirror.seen[hole.expand_as(image) == 1].eq(level).all()


def test_a_plain_colour_is_continued_and_nothing_to_see(hole: Tensor) -> None:
    colour = torch.tensor([0.9, 0.2, 0.6]).view(1, 3, 1, 1).expand(2, 3, 32, 48)
    network = HarmonicResidual(mirror := Mirror(), 0.0, 3)
    torch.testing.assert_close(network(colour * (1 - hole), hole), colour)
    torch.testing.assert_close(mirror.seen, torch.zeros(2, 3, 32, 48))


def test_another_light_gives_the_same_answer_in_that_light(image: Tensor, hole: Tensor) -> None:
    network = HarmonicResidual(Mirror(), 0.0, 3)
    light = torch.tensor([0.1, -0.2, 0.05]).view(1, 3, 1, 1)
    torch.testing.assert_close(network(image + light, hole), network(image, hole) + light)


def test_a_right_answer_in_another_light_becomes_right(image: Tensor, hole: Tensor) -> None:
    filled = HarmonicResidual(Painted(image + 0.2), 0.0, 4)(image * (1 - hole), hole)
    torch.testing.assert_close(filled, image)


def test_known_pixels_are_the_pictures_own_whatever_the_answer(image: Tensor, hole: Tensor) -> None:
    filled = HarmonicResidual(Painted(torch.rand(2, 3, 32, 48)), 0.5, 4)(image, hole)
    torch.testing.assert_close(filled * (1 - hole), image * (1 - hole))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 0.3])
def test_what_stands_in_a_hole_is_ignored(image: Tensor, hole: Tensor, bad: float) -> None:
    network = HarmonicResidual(Mirror(), 0.0, 4)
    assert torch.equal(network(image, hole), network(image.masked_fill(hole > 0.5, bad), hole))


def test_with_nothing_known_the_answer_is_grey_and_what_was_painted() -> None:
    unknown = torch.zeros(1, 3, 16, 32), torch.ones(1, 1, 16, 32)
    assert torch.equal(HarmonicResidual(Mirror(), 0.0, 3)(*unknown), torch.full((1, 3, 16, 32), 0.5))
    answer = torch.rand(1, 3, 16, 32)
    torch.testing.assert_close(HarmonicResidual(Painted(answer), 0.0, 3)(*unknown), answer + 0.5)


def test_what_is_learned_is_learned_through_the_membrane(image: Tensor, hole: Tensor) -> None:
    painted = Painted(torch.rand(2, 3, 32, 48))
    HarmonicResidual(painted, 0.0, 4)(image * (1 - hole), hole).square().sum().backward()
    assert painted.picture.grad is not None
    beside = (nn.functional.max_pool2d(hole, 3, 1, 1) - hole).expand(2, 3, 32, 48) > 0  # known pixels at the edges
    assert painted.picture.grad[beside].abs().min() > 0
