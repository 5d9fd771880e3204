"""The objective of Isola et al. (CVPR 2017), §3.1: a conditional GAN plus 100 times the L1 distance.

    min_G max_D   E log D(x, y) + E log(1 - D(x, G(x))) + 100 |y - G(x)|_1

with the generator's usual change of sign, "make D say real", and the discriminator's loss halved (§3.3).

In a composite most patches hold nothing that the generator made. With a share of missing pixels for each patch, only
those are called fake, and only by as much (the soft labels of AOT-GAN; Zeng et al., TVCG 2022).
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Objective = Literal["vanilla", "least_squares"]


def distances(logits: Tensor, wanted: Tensor, objective: Objective) -> Tensor:
    """How far the discriminator is, patch by patch, from what it should say.

    Args:
        logits: (N, 1, H, W).
        wanted: like `logits`, 1 for real and 0 for fake.
        objective: "vanilla" is the cross-entropy of the paper, "least_squares" that of Mao et al. (ICCV 2017).
    """
    if objective == "vanilla":
        return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return (logits - wanted).square()


def share_of(hole: Tensor, logits: Tensor) -> Tensor:
    """Return which share of the pixels around each patch's middle is missing, for (N, 1, H, W) holes."""
    return F.adaptive_avg_pool2d(hole, (logits.shape[-2], logits.shape[-1]))


def discriminator_loss(real: Tensor, fake: Tensor, fakeness: Tensor, objective: Objective) -> Tensor:
    """Half the sum of both mistakes.

    Args:
        real: logits (N, 1, H, W) of real pictures.
        fake: logits of answers without gradient.
        fakeness: like `fake`, how much of each patch the generator made; 1 everywhere in the paper.
        objective: as in `distances`.
    """
    of_real = distances(real, torch.ones_like(real), objective)
    return (of_real.mean() + distances(fake, 1 - fakeness, objective).mean()) / 2


def generator_loss(fake: Tensor, fakeness: Tensor, objective: Objective) -> Tensor:
    """How far the discriminator is from calling what the generator made real, as a mean over `fakeness`."""
    of_fake = distances(fake, torch.ones_like(fake), objective)
    return (of_fake * fakeness).sum() / fakeness.sum().clamp(min=1e-6)


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference over all elements, of pictures in [0, 1], on the paper's scale of [-1, 1]."""
    return 2 * F.l1_loss(prediction, target)
