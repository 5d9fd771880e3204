"""The U-Net of Liu et al., "Image Inpainting for Irregular Holes Using Partial Convolutions" (ECCV 2018), §3.2.

A partial convolution (eq. 1) uses only known pixels and scales the result by the mask ratio of the window:

    x' = W^T (X * M) * sum(1) / sum(M) + b   where sum(M) > 0, else 0          m' = 1 where sum(M) > 0, else 0

M is 1 where a pixel is known, and has as many channels as X; zero padding counts as missing. All channels of one
concatenated group share one map, so with one map per group

    sum(M) = sum over groups of C_g * box(known_g)          sum(1) = k * k * sum over groups of C_g

which gives the same numbers with far less arithmetic. The maps depend on the hole only, so they are computed before
the network runs, always in float32.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ENCODER_KERNELS = (7, 5, 5)  # of the first levels; 3 below them
MAX_WIDENING = 8  # deeper levels have at most this many times the first one's channels
DECODER_SLOPE = 0.2
LAST_GAIN = 0.1  # of the initial weights of the last layer, relative to He's


class MaskUpdate(NamedTuple):
    """Mask ratio and updated mask of a partial convolution; (N, 1, H', W') of its output, float32."""

    ratio: Tensor  # sum(1) / sum(M), 0 if the window has no known pixel
    known: Tensor  # m': 1 if the window has a known pixel


def update_mask(groups: Sequence[tuple[Tensor, int]], kernel: int, stride: int) -> MaskUpdate:
    """Compute mask ratio and updated mask of a partial convolution (eq. 1).

    Args:
        groups: of concatenated channels: known map (N, 1, H, W), float32 of 0 and 1, and number of channels of each.
        kernel: odd side of the window; the padding of half of it counts as missing.
        stride: of the convolution.
    """
    # Not divisor_override=1, which the ONNX exporter silently drops. Rounding makes the counts integers again.
    means = [(channels, F.avg_pool2d(known, kernel, stride, kernel // 2)) for known, channels in groups]
    counts = [channels * (kernel * kernel * mean).round() for channels, mean in means]
    total = torch.stack(counts).sum(0) if len(counts) > 1 else counts[0]
    known = (total > 0.5).to(total.dtype)
    full = kernel * kernel * sum(channels for _, channels in groups)
    # Not full / (total + epsilon): the ONNX exporter drops the epsilon, and in half precision the quotient overflows.
    return MaskUpdate(torch.where(total > 0.5, full / total.clamp(min=1), 0.0), known)


class PartialConv(nn.Module):
    """Partial convolution, batch norm, activation; without a mask update, an ordinary convolution.

    Args:
        in_channels: of all concatenated groups together.
        out_channels: of the output.
        kernel: odd side of the window, padded by half of it.
        stride: 2 in the encoder, 1 in the decoder.
        norm: batch norm after the convolution, which then has no bias.
        slope: of the leaky ReLU; 0 is ReLU, None no activation.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, norm: bool, slope: float | None
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=not norm)
        self.norm = nn.BatchNorm2d(out_channels) if norm else None
        self.slope = slope
        nn.init.kaiming_normal_(self.conv.weight, a=slope or 0.0)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor, update: MaskUpdate | None) -> Tensor:
        """Convolve.

        Args:
            x: (N, C, H, W), 0 where it is missing.
            update: of this layer, or None for an ordinary convolution.

        Returns:
            (N, C', H', W'), 0 where nothing was known.
        """
        if update is None:
            return self._activate(self.conv(x))
        # In place, since memory is slow; multiplication by maps without gradient does not need its input later.
        out = F.conv2d(x, self.conv.weight, None, self.conv.stride, self.conv.padding)
        known = update.known.to(out.dtype)
        out.mul_(update.ratio.to(out.dtype))
        if self.conv.bias is not None:  # neither scaled nor left in holes
            out.addcmul_(self.conv.bias.to(out.dtype)[:, None, None], known)
        return self._activate(out, known)

    def _activate(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        if self.norm is not None:
            x = self.norm(x)
            if known is not None:  # batch norm shifts the holes away from zero, where activations leave them
                x.mul_(known)
        return x if self.slope is None else F.leaky_relu(x, self.slope, inplace=True)


class PConvUNet(nn.Module):
    """The U-Net of the paper, with partial or ordinary convolutions.

    The paper has width 64 and 8 levels for 512 x 512 pixels: 32.85 M weights in convolutions.

    Args:
        width: channels of the first level.
        levels: halvings; H and W must be multiples of 2^levels.
        partial: False for ordinary convolutions of the same sizes; the first one gets the hole as a fourth channel.

    Example:
        >>> network = PConvUNet(width=4, levels=3).eval()
        >>> network(torch.rand(2, 3, 16, 24), torch.zeros(2, 1, 16, 24)).shape
        torch.Size([2, 3, 16, 24])
    """

    def __init__(self, width: int, levels: int, partial: bool = True) -> None:
        super().__init__()
        self.partial = partial
        self.encoder_frozen = False
        channels = [3] + [width * min(2**level, MAX_WIDENING) for level in range(levels)]
        kernels = [*ENCODER_KERNELS, *[3] * levels][:levels]
        self.encoder = nn.ModuleList(
            PartialConv(
                channels[i] + (i == 0 and not partial), channels[i + 1], kernels[i], stride=2, norm=i > 0, slope=0.0
            )
            for i in range(levels)
        )
        self.decoder = (
            nn.ModuleList(  # deepest first; the last sees the holed image itself, so it can copy known pixels
                PartialConv(
                    channels[i + 1] + channels[i], channels[i], 3, 1, norm=i > 0, slope=DECODER_SLOPE if i > 0 else None
                )
                for i in reversed(range(levels))
            )
        )
        with torch.no_grad():  # start near zero, the mean colour of centred pictures
            self.decoder[-1].conv.weight.mul_(LAST_GAIN)  # type: ignore[union-attr,operator]
        self._windows = list(zip(channels, kernels, strict=False))  # of the encoder: channels in, side of the kernel
        self._groups = [(channels[i + 1], channels[i]) for i in reversed(range(levels))]

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        """Predict every pixel.

        Args:
            image: (N, 3, H, W), float32 in [0, 1]; its values in holes are ignored.
            hole: (N, 1, H, W), float32, 1 where `image` is missing.

        Returns:
            the prediction, (N, 3, H, W), not clamped.
        """
        updates = self.mask_updates(1 - hole) if self.partial else [None] * (2 * len(self.encoder))
        x = image.where(hole < 0.5, 0.0)
        skips = []
        for level, (layer, update) in enumerate(zip(self.encoder, updates, strict=False)):
            skips.append(x)
            x = layer(x if self.partial or level else torch.cat([x, hole.to(x.dtype)], dim=1), update)
        for layer, update in zip(self.decoder, updates[len(self.encoder) :], strict=True):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = layer(torch.cat([x, skips.pop()], dim=1), update)
        return x

    @torch.no_grad()
    def mask_updates(self, known: Tensor) -> list[MaskUpdate]:
        """Compute the mask update of every layer, encoder first.

        Args:
            known: (N, 1, H, W), float32, 1 where the image is known.
        """
        layers: list[MaskUpdate] = []
        skips = []
        for channels, kernel in self._windows:
            skips.append(known)
            layers.append(update_mask([(known, channels)], kernel, stride=2))
            known = layers[-1].known
        for below, skipped in self._groups:
            known = F.interpolate(known, scale_factor=2.0, mode="nearest")
            layers.append(update_mask([(known, below), (skips.pop(), skipped)], kernel=3, stride=1))
            known = layers[-1].known
        return layers

    def freeze_encoder(self) -> None:
        """Freeze the encoder's batch-norm statistics (second phase of the paper, §3.3)."""
        self.encoder_frozen = True
        self.train(self.training)

    def train(self, mode: bool = True) -> "PConvUNet":
        """Switch to training mode, except for batch norm in a frozen encoder."""
        super().train(mode)
        if self.encoder_frozen:
            for module in self.encoder.modules():
                if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
                    module.eval()
        return self
