"""Partial convolution against the paper's equation, written out with a mask for every channel."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.pconv.network import PartialConv, PConvUNet, update_mask


def paper_conv(x: Tensor, mask: Tensor, conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Equation 1 of the paper: `mask` has the channels of `x`, sums are taken by a convolution of ones."""
    ones = torch.ones_like(conv.weight)
    total = F.conv2d(mask, ones, None, conv.stride, conv.padding)
    raw = F.conv2d(x * mask, conv.weight, None, conv.stride, conv.padding)
    known = (total > 0).float()
    out = raw * ones[0].sum() / torch.where(total > 0, total, 1.0)
    if conv.bias is not None:
        out = out + conv.bias[:, None, None]
    return out * known, known


def paper_unet(network: PConvUNet, image: Tensor, hole: Tensor) -> Tensor:
    x, mask = image, (1 - hole).expand_as(image)
    skips = []
    for layer in network.encoder:
        skips.append((x, mask))
        x, mask = paper_conv(x, mask, layer.conv)
        x = layer._activate(x)
    for layer in network.decoder:
        skipped, skipped_mask = skips.pop()
        x = torch.cat([F.interpolate(x, scale_factor=2.0), skipped], 1)
        mask = torch.cat([F.interpolate(mask, scale_factor=2.0), skipped_mask], 1)
        x, mask = paper_conv(x, mask, layer.conv)
        x = layer._activate(x)
    return x * mask[:, :1]  # the last layer's holes, were there any


def make_hole(kind: str, n: int, h: int, w: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    hole = torch.zeros(n, 1, h, w)
    match kind:
        case "random":
            return (torch.rand(n, 1, h, w, generator=generator) < 0.5).float()
        case "block":
            hole[..., h // 4 : h // 4 * 3, 2 : w // 2] = 1
        case "pixel":
            hole[..., 3, 5] = 1
        case "all":
            hole += 1
    return hole


HOLES = ("random", "block", "pixel", "none", "all")


@pytest.mark.parametrize("kind", HOLES)
@pytest.mark.parametrize("levels", [2, 4])
def test_forward_and_gradients_equal_the_papers_equation(kind: str, levels: int) -> None:
    torch.manual_seed(0)
    network = PConvUNet(width=4, levels=levels).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # shifts that move holes away from zero, as after training
            nn.init.uniform_(module.bias, -1, 1)
    image = torch.rand(2, 3, 32, 48)
    hole = make_hole(kind, 2, 32, 48)
    answers, gradients = [], []
    for forward in (lambda: network(image, hole), lambda: paper_unet(network, image, hole)):
        network.zero_grad()
        answers.append(forward())
        answers[-1].square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    torch.testing.assert_close(answers[0], answers[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-5)


def test_without_holes_and_away_from_the_edge_it_is_the_ordinary_convolution() -> None:
    layer = PartialConv(3, 5, 3, 1, norm=False, slope=None)
    nn.init.uniform_(layer.conv.bias)
    x = torch.rand(1, 3, 12, 16)
    got = layer(x, update_mask([(torch.ones(1, 1, 12, 16), 3)], 3, 1))
    torch.testing.assert_close(got[..., 1:-1, 1:-1], layer.conv(x)[..., 1:-1, 1:-1])


def test_padding_counts_as_missing() -> None:
    ratio = update_mask([(torch.ones(1, 1, 6, 8), 3)], 3, 1).ratio[0, 0]
    assert ratio[2, 3] == 1
    assert ratio[0, 3] == 1.5
    assert ratio[0, 0] == 2.25


@pytest.mark.parametrize("kind", ["random", "block", "all"])
def test_bias_is_neither_scaled_nor_left_in_holes(kind: str) -> None:
    layer = PartialConv(3, 2, 3, 2, norm=False, slope=None)
    nn.init.zeros_(layer.conv.weight)
    nn.init.constant_(layer.conv.bias, 7.0)
    known = 1 - make_hole(kind, 1, 12, 16)
    update = update_mask([(known, 3)], 3, 2)
    out = layer(torch.rand(1, 3, 12, 16) * known, update)
    assert torch.equal(out, 7 * update.known.expand_as(out))


def test_a_constant_picture_stays_constant_wherever_something_is_known() -> None:
    layer = PartialConv(3, 1, 5, 1, norm=False, slope=None)
    nn.init.constant_(layer.conv.weight, 1 / (5 * 5 * 3))
    known = 1 - make_hole("random", 1, 12, 16)
    update = update_mask([(known, 3)], 5, 1)
    out = layer(torch.full((1, 3, 12, 16), 0.3) * known, update)
    torch.testing.assert_close(out, 0.3 * update.known)


def test_groups_count_with_their_own_maps_and_channels() -> None:
    a, b = 1 - make_hole("random", 1, 8, 12), 1 - make_hole("block", 1, 8, 12)
    got = update_mask([(a, 6), (b, 2)], 3, 1)
    mask = torch.cat([a.expand(-1, 6, -1, -1), b.expand(-1, 2, -1, -1)], 1)
    total = F.conv2d(mask, torch.ones(1, 8, 3, 3), padding=1)
    assert torch.equal(got.known, (total > 0).float())
    torch.testing.assert_close(got.ratio, torch.where(total > 0, 72 / total.clamp(min=1), 0.0))


@pytest.mark.parametrize("bad", [torch.inf, torch.nan, 1e30])
def test_what_stands_in_a_hole_never_changes_the_answer(bad: float) -> None:
    network = PConvUNet(4, 2).eval()
    image, hole = torch.rand(1, 3, 16, 24), make_hole("block", 1, 16, 24)
    assert torch.equal(network(image, hole), network(image.masked_fill(hole > 0.5, bad), hole))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", HOLES)
def test_half_precision_stays_finite_and_counts_in_float32(kind: str, dtype: torch.dtype) -> None:
    network = PConvUNet(8, 3).eval()
    hole = make_hole(kind, 1, 16, 24)
    with torch.autocast("cpu", dtype):
        answer = network(torch.rand(1, 3, 16, 24), hole)
        updates = network.mask_updates(1 - hole)
    assert torch.isfinite(answer).all()
    for under_autocast, plain in zip(updates, network.mask_updates(1 - hole), strict=True):
        assert under_autocast.ratio.dtype == torch.float32
        assert torch.equal(under_autocast.ratio, plain.ratio)


@pytest.mark.parametrize(("levels", "weights", "norms"), [(7, 25.77e6, 12), (8, 32.85e6, 14)])
def test_the_papers_size(levels: int, weights: float, norms: int) -> None:
    with torch.device("meta"):
        network = PConvUNet(64, levels)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert sum(c.weight.numel() for c in convolutions) == pytest.approx(weights, rel=1e-3)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == norms
    with_norm = [name for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert "encoder.0.norm" not in with_norm
    assert f"decoder.{levels - 1}.norm" not in with_norm


def test_the_twin_differs_in_its_convolutions_alone_and_is_shown_the_hole() -> None:
    partial, plain = PConvUNet(4, 3), PConvUNet(4, 3, partial=False).eval()
    sizes = [{name: value.shape for name, value in network.state_dict().items()} for network in (partial, plain)]
    first = "encoder.0.conv.weight"
    assert {name for name in sizes[0] if sizes[0][name] != sizes[1][name]} == {first}
    assert (sizes[0][first][1], sizes[1][first][1]) == (3, 4)
    black, none, hole = torch.zeros(1, 3, 24, 16), torch.zeros(1, 1, 24, 16), torch.ones(1, 1, 24, 16)
    assert not torch.allclose(plain(black, none), plain(black, hole))  # a black picture is no hole


def test_a_frozen_encoder_keeps_its_statistics_and_the_decoder_goes_on() -> None:
    network = PConvUNet(4, 3).train()
    network.freeze_encoder()
    network.eval()
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.rand(2, 3, 16, 24), make_hole("block", 2, 16, 24))
    moved = {name.split(".")[0] for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"decoder"}


def test_activations_are_where_the_papers_table_has_them() -> None:
    torch.manual_seed(0)
    network = PConvUNet(4, 3).eval()
    outputs: dict[str, Tensor] = {}
    for part in ("encoder", "decoder"):
        for number, layer in enumerate(getattr(network, part)):
            layer.register_forward_hook(lambda _m, _i, out, name=f"{part}.{number}": outputs.update({name: out}))
    network(torch.rand(1, 3, 16, 24), torch.zeros(1, 1, 16, 24))
    for name, out in outputs.items():  # ReLU, then leaky ReLU, then nothing
        layer = network.get_submodule(name)
        assert layer.slope == (0.0 if name.startswith("encoder") else None if name == "decoder.2" else 0.2)
        assert (out.min().item() < 0) is (layer.slope != 0.0), name
    pre = torch.full((1, 4, 2, 3), -1.0)
    layer = network.decoder[0]
    layer.norm = None
    assert layer._activate(pre).eq(-0.2).all()


def test_an_answer_does_not_depend_on_the_rest_of_its_batch() -> None:
    network = PConvUNet(4, 2).eval()
    images, holes = torch.rand(3, 3, 16, 24), make_hole("random", 3, 16, 24)
    torch.testing.assert_close(network(images, holes)[:1], network(images[:1], holes[:1]))
