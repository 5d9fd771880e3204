"""Tests of mirrored texture."""

import torch

from stages.pix2pix.mirror import mirrored
from stages.pix2pix.network import Generator


def row(values: list[float]) -> torch.Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


def test_a_row_is_mirrored_at_the_nearer_edge_of_its_hole() -> None:
    copy = mirrored(row([1, 2, 3, 9, 9, 9, 9, 4, 5, 6]), row([0, 0, 0, 1, 1, 1, 1, 0, 0, 0]))
    assert copy.flatten().tolist() == [1, 2, 3, 2, 1, 6, 5, 4, 5, 6]


def test_columns_are_mirrored_like_rows() -> None:
    torch.manual_seed(0)
    picture, hole = torch.rand(2, 3, 24, 16), torch.zeros(2, 1, 24, 16)
    hole[:, :, 5:20, 3:9] = 1  # narrower than high: rows are nearer but at the corners
    assert torch.equal(mirrored(picture, hole)[:, :, 12], mirrored(picture[:, :, 12:13], hole[:, :, 12:13])[:, :, 0])
    turned = mirrored(picture.mT, hole.mT).mT
    assert torch.equal(mirrored(picture, hole)[:, :, 12], turned[:, :, 12])
    assert torch.equal(mirrored(picture.flip(2), hole.flip(2)), mirrored(picture, hole).flip(2))


def test_a_source_that_is_missing_or_outside_gives_way() -> None:
    copy = mirrored(row([1, 9, 3, 9, 9, 7]), row([0, 1, 0, 1, 1, 0]))
    assert copy.flatten().tolist() == [1, 0, 3, 0, 1, 7]  # only the fifth has one, two pixels behind 3
    assert mirrored(row([9, 9, 5, 6]), row([1, 1, 0, 0])).flatten().tolist() == [0, 6, 5, 6]


def test_values_in_holes_are_never_copied() -> None:
    torch.manual_seed(0)
    picture, hole = torch.rand(2, 3, 32, 48), (torch.rand(2, 1, 32, 48) < 0.5).float()
    assert torch.equal(mirrored(picture, hole), mirrored(picture.masked_fill(hole > 0.5, 7.0), hole))
    assert mirrored(picture, torch.ones_like(hole)).eq(0).all()
    assert torch.equal(mirrored(picture, torch.zeros_like(hole)), picture)


def test_edges_are_found_127_pixels_away() -> None:
    picture, hole = torch.rand(1, 1, 1, 400), torch.zeros(1, 1, 1, 400)
    hole[..., 150:] = 1
    copy = mirrored(picture, hole)[0, 0, 0]
    assert torch.equal(copy[150:277], picture[0, 0, 0, 22:149].flip(0))
    assert copy[277:].eq(0).all()


def test_a_generator_adds_texture_to_holes_alone() -> None:
    torch.manual_seed(0)
    generator = Generator(4, 3, mirrors=True).eval()
    image, hole = torch.rand(1, 3, 16, 24), torch.zeros(1, 1, 16, 24)
    hole[..., 4:9, 6:12] = 1
    for parameter in generator.parameters():
        torch.nn.init.zeros_(parameter)
    difference = generator(image, hole) - 0.5  # tanh(0) is grey, and sigmoid(0) half of the texture
    assert torch.allclose(difference, mirrored(image - 0.5, hole).where(hole > 0.5, 0.0) / 2, atol=1e-6)
    assert difference[..., 4:9, 6:12].abs().max() > 0.01
