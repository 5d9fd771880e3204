"""Known pixels from the image, missing ones from the network's answer."""

from torch import Tensor


def composite(image: Tensor, filled: Tensor, hole: Tensor) -> Tensor:
    """Keep the known pixels of `image` and take the missing ones from `filled`.

    Args:
        image: (N, 3, H, W), float32 in [0, 1]; what stands in its holes is ignored, even if it is not finite.
        filled: like `image`, an answer for every pixel.
        hole: (N, 1, H, W), float32, 1 where `image` is missing, 0 elsewhere.

    Returns:
        (N, 3, H, W), to the bit equal to `image` where `hole` is 0 and to `filled` where it is 1.
    """
    return filled.where(hole > 0.5, image)
