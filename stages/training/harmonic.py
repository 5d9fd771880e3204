"""A wrapper that adds a network's detail to a membrane, so that predictions meet known pixels exactly.

With H(v) the harmonic function that continues the known values of v into the holes (`membrane.py`):

    seen       = image - H'(image)                the input of the network; H' follows means of 2 x 2 pixels only
    prediction = f + H(image - f)                 for its output f: the detail of f on the membrane of the image

So the network need not learn to copy colours: its error at known pixels is spread over the holes and subtracted, as in
"Poisson Image Editing" (Pérez, Gangnet and Blake, SIGGRAPH 2003). H is linear, so gradients pass through it.
"""

from torch import Tensor, nn

from stages.training.membrane import membrane

GREY = 0.5  # if no pixel is known
SKIPPED_LEVELS = 1  # of H'; with 0, known pixels of `seen` would all be zero


class HarmonicResidual(nn.Module):
    """A network whose predictions equal the image at known pixels and continue it into holes.

    Args:
        inner: maps (image, hole) to (N, 3, H, W).
        level: zero of the range of `inner`, its input in holes and where the image is smooth.
        levels: how often H and W can be halved, at least 2.
    """

    def __init__(self, inner: nn.Module, level: float, levels: int) -> None:
        super().__init__()
        self.inner = inner
        self.level = level
        self.levels = levels

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        """Predict every pixel.

        Args:
            image: (N, 3, H, W), float32 in [0, 1]; its values in holes are ignored.
            hole: (N, 1, H, W), float32, 1 where `image` is missing.

        Returns:
            the prediction, (N, 3, H, W), float32, not clamped; grey if no pixel is known.
        """
        known = hole < 0.5
        shifted = (image - GREY).where(known, 0.0)
        smooth = membrane(shifted, hole, self.levels, SKIPPED_LEVELS)
        seen = (shifted - smooth + self.level).where(known, self.level)
        detail: Tensor = self.inner(seen, hole).float() - self.level
        return GREY + detail + membrane((shifted - detail).where(known, 0.0), hole, self.levels)
