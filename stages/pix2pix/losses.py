"""The objective of Isola et al. (CVPR 2017), §3.1: a conditional GAN plus 100 times the L1 distance.

    min_G max_D   E log D(x, y) + E log(1 - D(x, G(x))) + 100 |y - G(x)|_1

with the generator's usual change of sign, "make D say real", and the discriminator's loss halved (§3.3).
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Objective = Literal["vanilla", "least_squares"]


def judge(logits: Tensor, real: bool, objective: Objective) -> Tensor:
    """How far the discriminator is from calling every patch real, or fake: a scalar.

    Args:
        logits: (N, 1, H, W).
        real: what it should call them.
        objective: "vanilla" is the cross-entropy of the paper, "least_squares" that of Mao et al. (ICCV 2017).
    """
    wanted = torch.full_like(logits, float(real))
    if objective == "vanilla":
        return F.binary_cross_entropy_with_logits(logits, wanted)
    return F.mse_loss(logits, wanted)


def discriminator_loss(real: Tensor, fake: Tensor, objective: Objective) -> Tensor:
    """Half the sum of both mistakes; logits (N, 1, H, W) of real pictures and of answers without gradient."""
    return (judge(real, True, objective) + judge(fake, False, objective)) / 2


def l1(filled: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference over all elements, of pictures in [0, 1], on the paper's scale of [-1, 1]."""
    return 2 * F.l1_loss(filled, target)
