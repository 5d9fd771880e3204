"""On a GPU the pyramid is replayed from a recording: with the same numbers, whatever comes between."""

import copy

import pytest
import torch
from torch import Tensor

from stages.pconv.network import PConvUNet

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def picture(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hole = (torch.rand(2, 1, 8, 12, generator=generator) < 0.4).float()
    hole = hole.repeat_interleave(8, 2).repeat_interleave(8, 3)
    return torch.rand(2, 3, 64, 96, generator=generator).cuda(), hole.cuda()


@pytest.mark.parametrize("half", [False, True])
def test_replayed_and_computed_training_agree(half: bool) -> None:
    torch.manual_seed(0)
    network = PConvUNet(8, 4).cuda()
    computed = copy.deepcopy(network)
    computed._coverage = computed.pyramid  # type: ignore[method-assign]
    gradients = []
    for one in (network, computed):
        losses = []
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            for seed in (0, 1, 2):  # several before the one backward pass, which needs each one's own numbers
                image, hole = picture(seed)
                losses.append(one(image * (1 - hole), hole).float().square().mean())
        sum(losses).backward()  # type: ignore[union-attr]
        gradients.append([losses, *(p.grad for p in one.parameters())])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)  # cuDNN adds gradients up in any order


def test_another_size_is_recorded_anew() -> None:
    network = PConvUNet(8, 3).cuda().train()
    for size in ((64, 96), (32, 64), (64, 96)):
        hole = torch.zeros(1, 1, *size, device="cuda")
        hole[..., 8:24, 8:40] = 1
        for ours, wanted in zip(network._coverage(1 - hole), network.pyramid(1 - hole), strict=True):
            assert torch.equal(ours.ratio, wanted.ratio)
            assert torch.equal(ours.known, wanted.known)
