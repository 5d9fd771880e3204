"""The scores of one pair.

| score | over | unit |
|---|---|---|
| `hole_psnr` | the missing pixels only: what the method made up | dB |
| `psnr`, `ssim` | the whole composite, known pixels included, as papers report them | dB, 1 = equal |
| `l1_percent`, `hole_l1_percent` | mean absolute difference: composite, missing pixels | % of the range |
| `raw_*` | the same over the method's answer for every pixel, before the known ones are put back | |

SSIM is that of Wang et al. (2004), by scikit-image: Gaussian window of sigma 1.5 and 11 taps, population covariance,
mean of the three channels, range 1. Answers are scored as float32, not rounded to 8 bits.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity

PSNR_CAP_DB = 100.0  # a perfect answer scores this, not infinity, which neither JSON nor a mean can hold

Floats = npt.NDArray[np.float32]


class Answer(NamedTuple):
    """What one pair is scored from.

    Attributes:
        target: uint8 (H, W, 3), the whole picture.
        hole: uint8 (H, W), 1 where pixels were missing.
        filled: float32 (H, W, 3) in [0, 1], the method's answer for every pixel.
    """

    target: npt.NDArray[np.uint8]
    hole: npt.NDArray[np.uint8]
    filled: Floats


def composite(answer: Answer) -> Floats:
    """Take the missing pixels from `filled` and the known ones from the picture: float32 (H, W, 3) in [0, 1]."""
    return np.where(answer.hole[..., None] > 0, answer.filled, _to_floats(answer.target))


def _to_floats(picture: npt.NDArray[np.uint8]) -> Floats:
    return picture.astype(np.float32) / np.float32(255)


def score(answer: Answer) -> dict[str, float]:
    """Score one pair; the module's docstring says what the scores are.

    Returns:
        finite numbers under `hole_psnr`, `psnr`, `ssim`, `l1_percent`, `hole_l1_percent`, `raw_psnr`, `raw_ssim`,
        `raw_l1_percent`. A pair without missing pixels has the hole scores of a perfect answer.
    """
    target, restored = _to_floats(answer.target), composite(answer)
    error = restored - target
    hole_error = error[answer.hole > 0]
    raw_error = answer.filled - target
    return {
        "hole_psnr": _psnr(hole_error),
        "psnr": _psnr(error),
        "ssim": _ssim(restored, target),
        "l1_percent": _l1_percent(error),
        "hole_l1_percent": _l1_percent(hole_error),
        "raw_psnr": _psnr(raw_error),
        "raw_ssim": _ssim(answer.filled, target),
        "raw_l1_percent": _l1_percent(raw_error),
    }


def _psnr(error: Floats) -> float:
    mean_square = float(np.mean(np.square(error, dtype=np.float64))) if error.size else 0.0
    return min(PSNR_CAP_DB, -10 * float(np.log10(max(mean_square, 1e-30))))


def _l1_percent(error: Floats) -> float:
    return 100 * float(np.mean(np.abs(error, dtype=np.float64))) if error.size else 0.0


def _ssim(picture: Floats, target: Floats) -> float:
    value: float = structural_similarity(  # type: ignore[no-untyped-call] # scikit-image has no annotations
        target, picture, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, channel_axis=2
    )
    return float(value)
