"""A network that paints on a membrane, and whose answer meets the known pixels exactly.

With H(v) the harmonic function that continues the known values of v into the holes (`membrane.py`):

    seen       = image - H'(image)                what the network sees; H' follows means of 2 x 2 pixels only
    prediction = f + H(image - f)                 for its output f: f's detail, on the membrane of the picture

So a network need not learn to copy colours. What its answer is off by at known pixels is spread over the holes and
taken off: "Poisson Image Editing" (Pérez, Gangnet and Blake, SIGGRAPH 2003). It is trained through H, which is linear.
"""

from torch import Tensor, nn

from stages.training.membrane import membrane

GREY = 0.5  # where nothing is known
SKIPPED_LEVELS = 1  # what is taken off the picture follows squares of 2 pixels; with 0 nothing would be left to see


class HarmonicResidual(nn.Module):
    """A network whose answer is, at known pixels, the picture itself, and in holes continues from there.

    Args:
        inner: called with (image, hole), answers (N, 3, H, W).
        level: the zero of `inner`'s own range: what it sees where the picture is smooth, and in holes.
        levels: how often H and W can be halved, at least 2.
    """

    def __init__(self, inner: nn.Module, level: float, levels: int) -> None:
        super().__init__()
        self.inner = inner
        self.level = level
        self.levels = levels

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        """Answer for every pixel.

        Args:
            image: (N, 3, H, W), float32 in [0, 1]; what stands in its holes is ignored.
            hole: (N, 1, H, W), float32, 1 where `image` is missing.

        Returns:
            prediction, (N, 3, H, W), float32, not clamped; grey where nothing is known.
        """
        known = hole < 0.5
        shifted = (image - GREY).where(known, 0.0)
        smooth = membrane(shifted, hole, self.levels, SKIPPED_LEVELS)
        seen = (shifted - smooth + self.level).where(known, self.level)
        detail: Tensor = self.inner(seen, hole).float() - self.level
        return GREY + detail + membrane((shifted - detail).where(known, 0.0), hole, self.levels)
