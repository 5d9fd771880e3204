"""The loss of Liu et al. (ECCV 2018), §3.4: L = valid + 6 hole + 0.05 perceptual + 120 (style out + comp) + 0.1 tv.

All L1 terms, also those of the hole and of known pixels, are means over the whole picture, C * H * W, as the authors
state ("the L1 losses in the paper are all size-averaged"), so a hole twice as large has twice the weight.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.inpainting.composite import composite

Features = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class Weights:
    """Weights of the loss terms; the defaults are the paper's, tuned on 100 validation images."""

    valid: float = 1.0
    hole: float = 6.0
    perceptual: float = 0.05
    style: float = 120.0
    tv: float = 0.1


def hole_loss(prediction: Tensor, target: Tensor, hole: Tensor) -> Tensor:
    """|(1 - M) * (out - gt)|_1 / N with N = C * H * W (eq. 2); all (N, 3, H, W), `hole` (N, 1, H, W)."""
    return (hole * (prediction - target)).abs().mean()


def valid_loss(prediction: Tensor, target: Tensor, hole: Tensor) -> Tensor:
    """|M * (out - gt)|_1 / N with N = C * H * W (eq. 2); all (N, 3, H, W), `hole` (N, 1, H, W)."""
    return ((1 - hole) * (prediction - target)).abs().mean()


def gram(features: Tensor) -> Tensor:
    """Channel correlations F^T F / (C * H * W), in float32: (N, C, H, W) to (N, C, C) (eq. 4, v2 of the paper)."""
    n, c, h, w = features.shape
    flat = features.float().reshape(n, c, h * w)
    with torch.autocast(features.device.type, enabled=False):  # half precision overflows in the sum
        return torch.bmm(flat, flat.transpose(1, 2)) / (c * h * w)


def feature_losses(prediction: Tensor, target: Tensor, hole: Tensor, features: Features) -> tuple[Tensor, Tensor]:
    """Perceptual (eq. 3) and style (eqs. 4 and 5) terms, each for the prediction plus for the composite.

    Args:
        prediction: (N, 3, H, W) in [0, 1], with gradient.
        target: like `prediction`.
        hole: (N, 1, H, W), 1 where pixels are missing.
        features: maps (N, 3, H, W) in [0, 1] to a sequence of feature maps; called once for the target, without
            gradient, and once for prediction and composite together.
    """
    with torch.no_grad():
        wanted = features(target)
    got = features(torch.cat([prediction, composite(target, prediction, hole)]))
    perceptual = prediction.new_zeros((), dtype=torch.float32)
    style = prediction.new_zeros((), dtype=torch.float32)
    for want, both in zip(wanted, got, strict=True):
        raw, composed = both.chunk(2)
        perceptual = perceptual + F.l1_loss(raw, want) + F.l1_loss(composed, want)
        wanted_gram = gram(want)
        style = style + F.l1_loss(gram(raw), wanted_gram) + F.l1_loss(gram(composed), wanted_gram)
    return perceptual, style


def tv_loss(composed: Tensor, hole: Tensor) -> Tensor:
    """Differences of neighbours both of which lie in the hole dilated by one pixel, over C * H * W (eq. 6).

    Args:
        composed: the composite, (N, 3, H, W).
        hole: (N, 1, H, W), 1 where pixels are missing.
    """
    region = F.max_pool2d(hole, 3, 1, 1)
    across = (composed[..., :, 1:] - composed[..., :, :-1]).abs() * (region[..., :, 1:] * region[..., :, :-1])
    down = (composed[..., 1:, :] - composed[..., :-1, :]).abs() * (region[..., 1:, :] * region[..., :-1, :])
    return (across.sum() + down.sum()) / composed.numel()


def loss_terms(
    prediction: Tensor, target: Tensor, hole: Tensor, weights: Weights, features: Features | None
) -> dict[str, Tensor]:
    """Compute the loss terms and their weighted sum.

    Args:
        prediction: of the network, (N, 3, H, W).
        target: the original picture, (N, 3, H, W) in [0, 1].
        hole: (N, 1, H, W), 1 where pixels are missing.
        weights: of the terms; a term of weight 0 is not computed.
        features: for the perceptual and style terms; may be None if both weights are 0.

    Returns:
        "loss", the weighted sum, and the terms by their names in `Weights`; scalars.
    """
    prediction = prediction.float()
    terms = {"valid": valid_loss(prediction, target, hole), "hole": hole_loss(prediction, target, hole)}
    if weights.perceptual or weights.style:
        if features is None:
            raise ValueError("perceptual_weight or style_weight is above 0, but no features are given")
        terms["perceptual"], terms["style"] = feature_losses(prediction, target, hole, features)
    if weights.tv:
        terms["tv"] = tv_loss(composite(target, prediction, hole), hole)
    total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
    return {"loss": total, **terms}
