"""Generator and discriminator against the paper's sizes, and what a test-time batch may change."""

import pytest
import torch
from torch import nn

from stages.pix2pix.network import BatchNorm, Generator, PatchDiscriminator, condition


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_papers_sizes() -> None:
    with torch.device("meta"):
        generator = Generator(64, 8, in_channels=3)
        discriminator = PatchDiscriminator(64, 3, in_channels=6)
    assert parameters(generator) / 1e6 == pytest.approx(54.414, abs=5e-4)
    assert parameters(discriminator) == 2_768_705


def test_30_by_30_patches_of_70_pixels() -> None:
    judges = PatchDiscriminator(2, 3).eval()
    known, picture = torch.rand(1, 4, 256, 256), torch.rand(1, 3, 256, 256, requires_grad=True)
    logits = judges(known, picture)
    assert logits.shape == (1, 1, 30, 30)
    (gradient,) = torch.autograd.grad(logits[0, 0, 15, 15], picture)
    rows = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
    assert rows[-1] - rows[0] + 1 == 70


def test_no_norm_at_the_first_and_the_deepest_level() -> None:
    generator = Generator(4, 4)
    assert [layer.norm is not None for layer in generator.down] == [False, True, True, False]
    assert [layer.norm is not None for layer in generator.up] == [True, True, True, False]


@pytest.mark.parametrize(("levels", "dropping"), [(5, 0), (7, 2), (8, 3)])
def test_dropout_is_on_the_deepest_decoder_layers(levels: int, dropping: int) -> None:
    with torch.device("meta"):
        layers = list(Generator(2, levels).up)
    assert [layer.dropout for layer in layers] == [True] * dropping + [False] * (levels - dropping)


def test_initial_weights() -> None:
    generator = Generator(64, 4)
    weights = torch.cat([m.weight.flatten() for m in generator.modules() if isinstance(m, nn.Conv2d)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    scales = torch.cat([m.weight for m in generator.modules() if isinstance(m, BatchNorm)])
    assert scales.mean().item() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 0.7])
def test_what_stands_in_a_hole_never_reaches_the_network(bad: float) -> None:
    generator = Generator(4, 3).eval()
    image, hole = torch.rand(1, 3, 16, 24), torch.zeros(1, 1, 16, 24)
    hole[..., 4:9, 6:12] = 1
    assert condition(image, hole)[:, :3].masked_select(hole > 0.5).eq(0).all()
    assert torch.equal(generator(image, hole), generator(image.masked_fill(hole > 0.5, bad), hole))


@pytest.mark.parametrize(("norm", "batch_statistics", "alone"), [
    ("batch", False, True), ("batch", True, False), ("instance", False, True),
])  # fmt: skip
def test_who_an_answer_depends_on_at_test_time(norm: str, batch_statistics: bool, alone: bool) -> None:
    torch.manual_seed(0)
    generator = Generator(8, 3, norm).eval()
    generator.set_test_time(batch_statistics, dropout=False)
    images, holes = torch.rand(3, 3, 16, 24), torch.zeros(3, 1, 16, 24)
    same = torch.allclose(generator(images, holes)[:1], generator(images[:1], holes[:1]), atol=1e-6)
    assert same is alone


def test_dropout_at_test_time_is_a_choice() -> None:
    generator = Generator(2, 7).eval()
    image, hole = torch.rand(1, 3, 256, 256), torch.zeros(1, 1, 256, 256)
    assert torch.equal(generator(image, hole), generator(image, hole))
    generator.set_test_time(batch_statistics=False, dropout=True)
    assert not torch.equal(generator(image, hole), generator(image, hole))


def test_answers_are_pictures() -> None:
    answer = Generator(4, 3)(torch.rand(2, 3, 16, 24), torch.zeros(2, 1, 16, 24))
    assert answer.shape == (2, 3, 16, 24)
    assert 0 <= answer.min() <= answer.max() <= 1
