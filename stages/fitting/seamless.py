"""A network's answer moved, smoothly, to where it meets the known pixels.

A network that has the colours right to within a shade still shows a seam around every hole, and in smooth regions
blotches. Its error at the known pixels is known, though. Spread from there over the holes like a membrane, and taken
off the answer, it leaves no seam: "Poisson Image Editing" (Pérez, Gangnet and Blake, SIGGRAPH 2003), with the network's
answer for what is cloned. What the network has to get right is then how the picture changes from pixel to pixel.

A network is trained through it.
"""

from torch import Tensor, nn

from stages.fitting.membrane import membrane


class Seamless(nn.Module):
    """A network whose answer is, at known pixels, the picture itself, and in holes continues from there.

    Args:
        inner: called with (image, hole), answers (N, 3, H, W).
        levels: how often H and W can be halved.
    """

    def __init__(self, inner: nn.Module, levels: int) -> None:
        super().__init__()
        self.inner = inner
        self.levels = levels

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        """Answer for every pixel.

        Args:
            image: (N, 3, H, W), float32 in [0, 1]; what stands in its holes is ignored.
            hole: (N, 1, H, W), float32, 1 where `image` is missing.

        Returns:
            filled, (N, 3, H, W), float32, not clamped.
        """
        filled: Tensor = self.inner(image, hole).float()
        return filled + membrane((image - filled).where(hole < 0.5, 0.0), hole, self.levels)
