"""The objective of Isola et al. (CVPR 2017), §3.1: a conditional GAN plus 100 times the L1 distance.

    min_G max_D   E log D(x, y) + E log(1 - D(x, G(x))) + 100 |y - G(x)|_1

with the non-saturating loss of the generator, and the loss of the discriminator halved (§3.3).

In a composite most patches contain nothing generated. With the missing share of each patch as a soft label, only the
generated part counts as fake (AOT-GAN; Zeng et al., TVCG 2022).
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Objective = Literal["vanilla", "least_squares"]


def distances(logits: Tensor, wanted: Tensor, objective: Objective) -> Tensor:
    """Return the loss of each patch, like `logits`.

    Args:
        logits: (N, 1, H, W).
        wanted: labels like `logits`, 1 for real and 0 for fake.
        objective: "vanilla", the cross-entropy of the paper, or "least_squares" (Mao et al., ICCV 2017).
    """
    if objective == "vanilla":
        return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return (logits - wanted).square()


def share_of(hole: Tensor, logits: Tensor) -> Tensor:
    """Return the missing share of pixels around the centre of each patch, like `logits`, for holes (N, 1, H, W)."""
    return F.adaptive_avg_pool2d(hole, (logits.shape[-2], logits.shape[-1]))


def discriminator_loss(real: Tensor, fake: Tensor, fakeness: Tensor, objective: Objective) -> Tensor:
    """Return half the sum of the losses for real and generated pictures.

    Args:
        real: logits (N, 1, H, W) of real pictures.
        fake: logits of detached predictions.
        fakeness: like `fake`, the generated share of each patch; 1 in the paper.
        objective: as in `distances`.
    """
    of_real = distances(real, torch.ones_like(real), objective)
    return (of_real.mean() + distances(fake, 1 - fakeness, objective).mean()) / 2


def generator_loss(fake: Tensor, fakeness: Tensor, objective: Objective) -> Tensor:
    """Return the generator's loss: the distance from "real", as a mean weighted by `fakeness`."""
    of_fake = distances(fake, torch.ones_like(fake), objective)
    return (of_fake * fakeness).sum() / fakeness.sum().clamp(min=1e-6)


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute difference of pictures in [0, 1], on the paper's scale of [-1, 1]."""
    return 2 * F.l1_loss(prediction, target)
