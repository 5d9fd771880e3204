"""Generator and discriminator of Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks".

CVPR 2017, appendix §6.1. At width 64 and 8 levels the U-Net has 54.414 M parameters for a condition of three channels,
the discriminator of three strided layers 2,768,705 and a receptive field of 70 pixels. Our condition has four: the
image with its holes zeroed, and the hole; with mirrored texture (`mirror.py`) three more, and a fourth channel out.

Inside this package pictures are in [-1, 1] as in the paper; `Generator` takes and returns [0, 1].
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.pix2pix.mirror import mirrored

MAX_WIDENING = 8  # deeper levels have at most this many times the first one's channels
INNER_LEVELS = 5  # decoder layers deeper than this have dropout: three of the paper's eight
SLOPE = 0.2
DROPPED = 0.5

Norm = Literal["batch", "instance"]


def to_signed(picture: Tensor) -> Tensor:
    """Map [0, 1] to [-1, 1]."""
    return picture * 2 - 1


def condition(image: Tensor, hole: Tensor) -> Tensor:
    """Return the condition, (N, 4, H, W): the image in [-1, 1] with holes set to 0, and the hole."""
    return torch.cat([to_signed(image).where(hole < 0.5, 0.0), hole], dim=1)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that can use the batch's own statistics at test time, as the paper does (§3.3)."""

    batch_at_test = False

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        if self.training or not self.batch_at_test:
            return super().forward(x)
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)


def make_norm(kind: Norm, channels: int) -> nn.Module:
    """Return a normalisation layer with a learned scale and shift, so that no convolution before it needs a bias."""
    return BatchNorm(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)


def initialise(network: nn.Module) -> None:
    """Draw the weights of convolutions from N(0, 0.02) and the scales of batch norm from N(1, 0.02); biases are 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class Down(nn.Module):
    """Leaky ReLU (but for the first), convolution 4 x 4 by stride 2, norm (but for the first and the deepest)."""

    def __init__(self, in_channels: int, out_channels: int, norm: nn.Module | None, activate: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 4, 2, 1, bias=False)
        self.norm = norm
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        """Halve (N, C, H, W)."""
        x = self.conv(F.leaky_relu(x, SLOPE) if self.activate else x)
        return x if self.norm is None else self.norm(x)


class Up(nn.Module):
    """ReLU, transposed convolution 4 x 4 by stride 2, norm and dropout; the last one has neither, but a bias."""

    def __init__(self, in_channels: int, out_channels: int, norm: nn.Module | None, dropout: bool) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1, bias=norm is None)
        self.norm = norm
        self.dropout = dropout
        self.drop_at_test = False

    def forward(self, x: Tensor) -> Tensor:
        """Double (N, C, H, W)."""
        x = self.conv(F.relu(x))
        if self.norm is None:
            return x
        x = self.norm(x)
        if not self.dropout:
            return x
        return F.dropout(x, DROPPED, self.training or self.drop_at_test)


class Generator(nn.Module):
    """The paper's U-Net: four channels in, a picture out, skips between mirrored levels.

    Args:
        width: channels of the first level.
        levels: halvings; H and W must be multiples of 2^levels.
        norm: "batch", or "instance", so that predictions do not depend on the rest of the batch.
        in_channels: of the condition.
        mirrors: whether to show the network mirrored texture (`mirror.py`), of which it adds a share to each pixel.
    """

    def __init__(
        self, width: int, levels: int, norm: Norm = "batch", in_channels: int = 4, mirrors: bool = False
    ) -> None:
        super().__init__()
        self.mirrors = mirrors
        out_channels = 4 if mirrors else 3
        in_channels += 3 if mirrors else 0
        channels = [width * min(2**level, MAX_WIDENING) for level in range(levels)]
        self.down = nn.ModuleList(
            Down(
                in_channels if level == 0 else channels[level - 1],
                channels[level],
                make_norm(norm, channels[level]) if 0 < level < levels - 1 else None,
                activate=level > 0,
            )
            for level in range(levels)
        )
        self.up = nn.ModuleList(  # deepest first; all but the deepest also get the skip of their level
            Up(
                channels[level] * (1 if level == levels - 1 else 2),
                out_channels if level == 0 else channels[level - 1],
                make_norm(norm, channels[level - 1]) if level > 0 else None,
                dropout=level >= INNER_LEVELS,
            )
            for level in reversed(range(levels))
        )
        initialise(self)

    def set_test_time(self, batch_statistics: bool, dropout: bool) -> None:
        """Choose what evaluation keeps from training (§3.3 keeps both).

        Args:
            batch_statistics: whether to normalise by the test batch instead of the running statistics.
            dropout: whether dropout stays on, which makes predictions random.
        """
        for module in self.modules():
            if isinstance(module, BatchNorm):
                module.batch_at_test = batch_statistics
            elif isinstance(module, Up):
                module.drop_at_test = dropout

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        """Predict every pixel.

        Args:
            image: (N, 3, H, W), float32 in [0, 1]; its values in holes are ignored.
            hole: (N, 1, H, W), float32, 1 where `image` is missing.

        Returns:
            the prediction, (N, 3, H, W): in [0, 1], and beyond where mirrored texture is added.
        """
        seen = condition(image, hole)
        if not self.mirrors:
            return (torch.tanh(self.translate(seen)) + 1) / 2
        copy = mirrored(seen[:, :3], hole)
        painted = self.translate(torch.cat([seen, copy], dim=1))
        return (torch.tanh(painted[:, :3]) + torch.sigmoid(painted[:, 3:]) * copy * hole + 1) / 2

    def translate(self, x: Tensor) -> Tensor:
        """Run the U-Net, without the final tanh: (N, C, H, W) to (N, 3 or 4, H, W)."""
        skips = []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        x = self.up[0](skips.pop())
        for layer in self.up[1:]:
            x = layer(torch.cat([x, skips.pop()], dim=1))
        return x


class PatchDiscriminator(nn.Module):
    """Classifies overlapping patches of condition and picture: one logit each, 30 x 30 of them at 256 pixels.

    Args:
        width: channels of the first layer.
        strided_layers: number of halving layers; 1, 2, 3, 4 give a receptive field of 16, 34, 70, 142 pixels.
        norm: as for `Generator`.
        in_channels: of condition and picture together.
    """

    def __init__(self, width: int, strided_layers: int = 3, norm: Norm = "batch", in_channels: int = 7) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        channels = width
        for number in range(1, strided_layers + 1):
            previous, channels = channels, width * min(2**number, MAX_WIDENING)
            stride = 2 if number < strided_layers else 1
            layers += [
                nn.Conv2d(previous, channels, 4, stride, 1, bias=False),
                make_norm(norm, channels),
                nn.LeakyReLU(SLOPE),
            ]
        layers.append(nn.Conv2d(channels, 1, 4, 1, 1))
        self.layers = nn.Sequential(*layers)
        initialise(self)

    def forward(self, known: Tensor, picture: Tensor) -> Tensor:
        """Classify patches.

        Args:
            known: the condition, (N, 4, H, W).
            picture: (N, 3, H, W) in [-1, 1].

        Returns:
            logits, (N, 1, H', W'): above 0 means "real".
        """
        logits: Tensor = self.layers(torch.cat([known, picture], dim=1))
        return logits
