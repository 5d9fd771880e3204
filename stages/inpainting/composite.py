"""Composite of an image and a prediction."""

from torch import Tensor


def composite(image: Tensor, prediction: Tensor, hole: Tensor) -> Tensor:
    """Take known pixels from `image` and missing ones from `prediction`.

    Args:
        image: (N, 3, H, W), float32 in [0, 1]; its values in holes are ignored, even if they are not finite.
        prediction: like `image`, for every pixel.
        hole: (N, 1, H, W), float32, 1 where `image` is missing, 0 elsewhere.

    Returns:
        (N, 3, H, W), bitwise equal to `image` where `hole` is 0 and to `prediction` where it is 1.
    """
    return prediction.where(hole > 0.5, image)
