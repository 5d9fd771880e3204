"""What becomes of an answer that does not meet the known pixels."""

import pytest
import torch
from torch import Tensor, nn

from stages.fitting.seamless import Seamless


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


def test_a_right_answer_in_another_light_becomes_right(hole: Tensor) -> None:
    target = torch.rand(2, 3, 32, 48)
    filled = Seamless(Painted(0.6 * target + 0.4 * target + 0.2), 4)(target * (1 - hole), hole)
    torch.testing.assert_close(filled, target)


def test_known_pixels_are_the_pictures_own_whatever_the_answer(hole: Tensor) -> None:
    image = torch.rand(2, 3, 32, 48) * (1 - hole)
    filled = Seamless(Painted(torch.rand(2, 3, 32, 48)), 4)(image, hole)
    torch.testing.assert_close(filled * (1 - hole), image)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 0.3])
def test_what_stands_in_a_hole_is_ignored(hole: Tensor, bad: float) -> None:
    network = Seamless(Painted(torch.rand(2, 3, 32, 48)), 4)
    image = torch.rand(2, 3, 32, 48)
    assert torch.equal(network(image, hole), network(image.masked_fill(hole > 0.5, bad), hole))


def test_with_nothing_known_the_answer_stays_as_it_is() -> None:
    answer = torch.rand(1, 3, 16, 32)
    assert torch.equal(Seamless(Painted(answer), 3)(torch.zeros(1, 3, 16, 32), torch.ones(1, 1, 16, 32)), answer)


def test_what_is_learned_is_learned_through_the_membrane(hole: Tensor) -> None:
    painted = Painted(torch.rand(2, 3, 32, 48))
    Seamless(painted, 4)(torch.rand(2, 3, 32, 48) * (1 - hole), hole).square().sum().backward()
    assert painted.picture.grad is not None
    beside = (nn.functional.max_pool2d(hole, 3, 1, 1) - hole).expand(2, 3, 32, 48) > 0  # known pixels at the edges
    assert painted.picture.grad[beside].abs().min() > 0
