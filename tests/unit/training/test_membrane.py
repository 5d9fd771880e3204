"""The membrane on made-up values, against the exact solution."""

import numpy as np
import torch

from stages.inpainting import classical
from stages.training.membrane import membrane


def test_a_membrane_continues_a_gradient() -> None:
    rows, columns = torch.meshgrid(torch.linspace(0, 0.5, 64), torch.linspace(0, 0.4, 96), indexing="ij")
    values = (rows + columns).expand(1, 3, 64, 96)
    hole = torch.zeros(1, 1, 64, 96)
    hole[..., 20:45, 30:70] = 1
    assert (membrane(values * (1 - hole), hole, 5) - values).abs().max() < 0.01


def test_a_membrane_nearly_solves_laplaces_equation() -> None:
    rng = np.random.default_rng(0)
    image = np.cumsum(np.cumsum(rng.normal(size=(64, 96, 3)), axis=0), axis=1)
    image = np.uint8(255 * (image - image.min()) / np.ptp(image))
    hole = (rng.random((8, 12)) < 0.4).astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    exact = classical.fill("harmonic", image, hole)[hole == 1]
    known = torch.from_numpy(image * (1 - hole)[..., None] / np.float32(255)).permute(2, 0, 1)[None].float()
    near = membrane(known, torch.from_numpy(hole)[None, None].float(), 5)[0].permute(1, 2, 0).numpy()[hole == 1]
    assert np.square(near - exact).mean() < 0.01 * exact.var()


def test_nothing_is_moved_where_values_are_known() -> None:
    values, hole = torch.rand(2, 3, 32, 48), torch.zeros(2, 1, 32, 48)
    assert torch.equal(membrane(values, hole, 4), values)
    hole[..., 4:20, 8:30] = 1
    sheet = membrane(values * (1 - hole), hole, 4)
    assert torch.equal(sheet * (1 - hole), values * (1 - hole))


def test_with_nothing_known_it_is_0() -> None:
    assert membrane(torch.zeros(1, 2, 16, 32), torch.ones(1, 1, 16, 32), 3).eq(0).all()


def test_skipped_levels_follow_means_instead_of_values() -> None:
    board = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(16, 24)[None, None]
    hole = torch.zeros(1, 1, 32, 48)
    torch.testing.assert_close(membrane(board, hole, 4, skipped_levels=1), torch.full_like(board, 0.5))
    assert torch.equal(membrane(board, hole, 4), board)


def test_half_precision_around_it_changes_nothing() -> None:
    hole = torch.zeros(1, 1, 32, 48)
    hole[..., 4:20, 8:30] = 1
    values = torch.rand(1, 3, 32, 48) * (1 - hole)
    with torch.autocast("cpu", torch.bfloat16):
        within = membrane(values, hole, 4)
    assert torch.equal(within, membrane(values, hole, 4))
