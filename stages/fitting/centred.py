"""Every picture seen against its own light: less a smooth version of itself, which is added to the answer again."""

from torch import Tensor, nn

from stages.fitting.membrane import membrane

GREY = 0.5  # where nothing is known
SLACK = 1  # sizes: the light is that of squares of 2 pixels


class Centred(nn.Module):
    """A network that need not learn to copy colours: it sees, and answers, how a picture differs from its light.

    A picture and the same picture in another light get the same answer, in that light; and before any training the
    answer is close to the light, which would else have to be learned first.

    Args:
        inner: called with (image, hole), answers (N, 3, H, W).
        level: what no difference becomes, the zero of `inner`'s own range. Holes are put there, too.
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
            filled, (N, 3, H, W), float32, not clamped.
        """
        light = GREY + membrane((image - GREY).where(hole < 0.5, 0.0), hole, self.levels, SLACK)
        seen = (image - light + self.level).where(hole < 0.5, self.level)
        filled: Tensor = self.inner(seen, hole)
        return filled.float() + (light - self.level)
