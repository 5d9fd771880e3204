"""The first stages of EfficientNet-Lite0 and -Lite1 (Tan and Le 2019; Lite: ReLU6, no squeeze-and-excitation).

A test compares them with timm's. timm itself is not used, since importing it takes longer than scoring a method. Batch
norms are folded into the convolutions before them, which saves a sixth of the time.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEM = 32  # channels
STAGES = (  # kernel size, stride of the first block, expansion, channels
    (3, 1, 1, 16),
    (3, 2, 6, 24),
    (5, 2, 6, 40),
    (3, 2, 6, 80),
    (5, 1, 6, 112),
)
BLOCKS = {"efficientnet_lite0": (1, 2, 2, 3, 3), "efficientnet_lite1": (1, 3, 3, 4, 4)}  # of each stage
_EPSILON = 1e-3  # of TensorFlow's batch norm


class SameConv(nn.Conv2d):
    """A convolution padded like TensorFlow's: an odd remainder goes to the right and the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W) to (N, channels, ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        down, right = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:])
        if down % 2 or right % 2:
            x = F.pad(x, (0, right % 2, 0, down % 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, (down // 2, right // 2), 1, self.groups)


class Block(nn.Module):
    """An inverted residual: expand, depthwise convolution, project; the input is added if the shapes agree.

    Activations and addition are in place: no weight is trained, so nothing needs what they overwrite.
    """

    def __init__(self, channels_in: int, kernel: int, stride: int, expansion: int, channels: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        self.widen = SameConv(channels_in, wide, 1) if expansion > 1 else None
        self.each = SameConv(wide, wide, kernel, stride, groups=wide)
        self.narrow = SameConv(wide, channels, 1)
        self._adds = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's feature map."""
        wide = F.relu6(self.widen(x), inplace=True) if self.widen is not None else x
        narrow: Tensor = self.narrow(F.relu6(self.each(wide), inplace=True))
        return narrow.add_(x) if self._adds else narrow


def layers(name: str, weights: Mapping[str, Tensor]) -> list[nn.Sequential]:
    """Build the stages; the first begins with the stem, which halves the sides.

    Args:
        name: one of `BLOCKS`.
        weights: of the whole classifier, by the names of EfficientNet's PyTorch ports.

    Returns:
        a module for each of `STAGES`.

    Raises:
        KeyError: a weight is missing.
        RuntimeError: a weight has another shape.
    """
    stem = SameConv(3, STEM, 3, 2)
    _fill(stem, weights, "_conv_stem", "_bn0")
    stages = [nn.Sequential(stem, nn.ReLU6())]
    number, channels_in = 0, STEM
    for count, (kernel, first_stride, expansion, channels) in zip(BLOCKS[name], STAGES, strict=True):
        for stride in (first_stride, *[1] * (count - 1)):
            block = Block(channels_in, kernel, stride, expansion, channels)
            of_block = f"_blocks.{number}."
            if block.widen is not None:
                _fill(block.widen, weights, f"{of_block}_expand_conv", f"{of_block}_bn0")
            _fill(block.each, weights, f"{of_block}_depthwise_conv", f"{of_block}_bn1")
            _fill(block.narrow, weights, f"{of_block}_project_conv", f"{of_block}_bn2")
            stages[-1].append(block)
            number, channels_in = number + 1, channels
        stages.append(nn.Sequential())
    return stages[:-1]


def _fill(conv: SameConv, weights: Mapping[str, Tensor], conv_name: str, norm_name: str) -> None:
    """Load a convolution and the batch norm that follows it as one convolution."""
    gain, shift, mean, variance = (
        weights[f"{norm_name}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gain / torch.sqrt(variance + _EPSILON)
    weight = weights[f"{conv_name}.weight"] * scale.view(-1, 1, 1, 1)
    conv.load_state_dict({"weight": weight, "bias": shift - mean * scale})
