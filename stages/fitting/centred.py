"""Every picture shifted to the same mean colour before a network sees it, and back afterwards."""

import torch
from torch import Tensor, nn


class Centred(nn.Module):
    """A network that need not learn to copy colours: it sees each picture with its known pixels averaging `level`.

    A picture and the same picture in another light get the same answer, shifted; and before any training the answer is
    close to the mean of the known pixels, which would else have to be learned first.

    Args:
        inner: called with (image, hole), answers (N, 3, H, W).
        level: what the mean of the known pixels becomes, the zero of `inner`'s own range. Holes are put there, too.
    """

    def __init__(self, inner: nn.Module, level: float) -> None:
        super().__init__()
        self.inner = inner
        self.level = level

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        """Answer for every pixel.

        Args:
            image: (N, 3, H, W), float32 in [0, 1]; what stands in its holes is ignored.
            hole: (N, 1, H, W), float32, 1 where `image` is missing.

        Returns:
            filled, (N, 3, H, W), float32, not clamped.
        """
        image = image.where(hole < 0.5, 0.0)
        count = (1 - hole).sum((2, 3), keepdim=True)
        mean = torch.where(count > 0, image.sum((2, 3), keepdim=True) / count.clamp(min=1), 0.5)
        shifted = (image - mean + self.level).where(hole < 0.5, self.level)
        filled: Tensor = self.inner(shifted, hole)
        return filled.float() + (mean - self.level)
