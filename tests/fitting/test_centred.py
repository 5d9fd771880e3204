"""What a centred network sees, and that its answer is put back into the picture's light."""

import pytest
import torch
from torch import Tensor, nn

from stages.fitting.centred import Centred


class Mirror(nn.Module):
    """Answers with what it sees, and keeps it."""

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        self.seen = image
        return image


@pytest.fixture
def picture() -> tuple[Tensor, Tensor]:
    hole = torch.zeros(2, 1, 16, 24)
    hole[..., 2:8, 3:14] = 1
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)), hole


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_what_it_sees_is_around_its_level_and_known_pixels_come_back(
    picture: tuple[Tensor, Tensor], level: float
) -> None:
    image, hole = picture
    network = Centred(Mirror(), level, 3)
    filled = network(image + torch.linspace(0, 5, 24), hole)  # a light that changes a lot across the picture
    known = (1 - hole).expand_as(image)
    assert (network.inner.seen - level).abs().max() < 1.5
    assert network.inner.seen[known == 0].eq(level).all()
    torch.testing.assert_close(filled * known, (image + torch.linspace(0, 5, 24)) * known)


def test_a_plain_colour_is_no_difference_at_all(picture: tuple[Tensor, Tensor]) -> None:
    _, hole = picture
    colour = torch.tensor([0.9, 0.2, 0.6]).view(1, 3, 1, 1).expand(2, 3, 16, 24)
    network = Centred(Mirror(), 0.0, 3)
    torch.testing.assert_close(network(colour * (1 - hole), hole), colour)
    torch.testing.assert_close(network.inner.seen, torch.zeros(2, 3, 16, 24))


def test_another_light_gives_the_same_answer_in_that_light(picture: tuple[Tensor, Tensor]) -> None:
    image, hole = picture
    network = Centred(Mirror(), 0.0, 3)
    light = torch.tensor([0.1, -0.2, 0.05]).view(1, 3, 1, 1)
    torch.testing.assert_close(network(image + light, hole), network(image, hole) + light)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 0.3])
def test_what_stands_in_a_hole_is_ignored(picture: tuple[Tensor, Tensor], bad: float) -> None:
    image, hole = picture
    network = Centred(Mirror(), 0.0, 3)
    assert torch.equal(network(image, hole), network(image.masked_fill(hole > 0.5, bad), hole))


def test_with_nothing_known_the_answer_is_grey() -> None:
    filled = Centred(Mirror(), 0.0, 2)(torch.rand(1, 3, 4, 8), torch.ones(1, 1, 4, 8))
    assert torch.equal(filled, torch.full((1, 3, 4, 8), 0.5))
