"""The first half of EfficientNet-Lite0 (Tan and Le 2019, and its Lite variant: ReLU6, no squeeze-and-excitation).

A test holds it equal to timm's. timm itself is not used: importing it takes longer than scoring a method does.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

STEM = 32  # channels
# A row a block: kernel size, stride, expansion, channels.
BLOCKS = (
    (3, 1, 1, 16),
    (3, 2, 6, 24), (3, 1, 6, 24),
    (5, 2, 6, 40), (5, 1, 6, 40),
    (3, 2, 6, 80), (3, 1, 6, 80), (3, 1, 6, 80),
    (5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112),
)  # fmt: skip


class SameConv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow does: an odd rest goes to the right and the bottom."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels_in, channels, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W) to (N, channels, ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        down, right = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:])
        return super().forward(F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2)))


class Block(nn.Module):
    """An inverted residual: widen, convolve each channel by itself, narrow; the input is added where the shapes agree.

    The names are those of the weights' file.
    """

    def __init__(self, channels_in: int, kernel: int, stride: int, expansion: int, channels: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        if expansion > 1:
            self._expand_conv, self._bn0 = SameConv(channels_in, wide, 1), norm(wide)
        self._depthwise_conv, self._bn1 = SameConv(wide, wide, kernel, stride, groups=wide), norm(wide)
        self._project_conv, self._bn2 = SameConv(wide, channels, 1), norm(channels)
        self._widens, self._adds = expansion > 1, stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map."""
        wide = F.relu6(self._bn0(self._expand_conv(x))) if self._widens else x
        narrow: Tensor = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(wide)))))
        return narrow + x if self._adds else narrow


def norm(channels: int) -> nn.BatchNorm2d:
    """Return a batch norm with TensorFlow's epsilon."""
    return nn.BatchNorm2d(channels, eps=1e-3)


def layers(weights: Mapping[str, Tensor]) -> tuple[nn.Sequential, list[Block]]:
    """Build the stem and the blocks.

    Args:
        weights: of the whole classifier, by the names of EfficientNet's PyTorch ports.

    Returns:
        the stem, which halves the sides, and the blocks of `BLOCKS`.

    Raises:
        RuntimeError: a weight is missing or has another shape.
    """
    stem = nn.Sequential(SameConv(3, STEM, 3, 2), norm(STEM), nn.ReLU6())
    _fill(stem[0], weights, "_conv_stem.")
    _fill(stem[1], weights, "_bn0.")
    blocks, channels_in = [], STEM
    for number, (kernel, stride, expansion, channels) in enumerate(BLOCKS):
        block = Block(channels_in, kernel, stride, expansion, channels)
        _fill(block, weights, f"_blocks.{number}.")
        blocks.append(block)
        channels_in = channels
    return stem, blocks


def _fill(module: nn.Module, weights: Mapping[str, Tensor], prefix: str) -> None:
    module.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
