"""What a centred network sees, and that its answer is shifted back."""

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
    hole = torch.zeros(2, 1, 6, 8)
    hole[..., 2:4, 3:7] = 1
    return torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0)), hole


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_known_pixels_average_the_level_and_come_back_unchanged(picture: tuple[Tensor, Tensor], level: float) -> None:
    image, hole = picture
    network = Centred(Mirror(), level)
    filled = network(image, hole)
    known = (1 - hole).expand_as(image)
    seen = network.inner.seen
    torch.testing.assert_close((seen * known).sum((2, 3)) / known.sum((2, 3)), torch.full((2, 3), level))
    torch.testing.assert_close(seen[known == 0], torch.full((48,), level))
    torch.testing.assert_close(filled * known, image * known)
    mean = (image * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True)
    torch.testing.assert_close(filled * (1 - known), mean * (1 - known))  # a network of no opinion answers mean fill


def test_another_light_gives_the_same_answer_in_that_light(picture: tuple[Tensor, Tensor]) -> None:
    image, hole = picture
    network = Centred(Mirror(), 0.0)
    light = torch.tensor([0.1, -0.2, 0.05]).view(1, 3, 1, 1)
    torch.testing.assert_close(network(image + light, hole), network(image, hole) + light)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 0.3])
def test_what_stands_in_a_hole_is_ignored(picture: tuple[Tensor, Tensor], bad: float) -> None:
    image, hole = picture
    network = Centred(Mirror(), 0.0)
    assert torch.equal(network(image, hole), network(image.masked_fill(hole > 0.5, bad), hole))


def test_with_nothing_known_the_answer_is_grey() -> None:
    filled = Centred(Mirror(), 0.0)(torch.rand(1, 3, 4, 6), torch.ones(1, 1, 4, 6))
    assert torch.equal(filled, torch.full((1, 3, 4, 6), 0.5))
