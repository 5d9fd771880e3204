"""The scores of one pair.

| score | over | unit |
|---|---|---|
| `hole_psnr`, `hole_ssim`, `hole_l1_percent` | missing pixels only | dB, 1 = equal, % |
| `psnr`, `ssim`, `l1_percent` | the whole composite, as reported in papers | the same |
| `raw_psnr`, `raw_ssim`, `raw_l1_percent` | the prediction for every pixel | the same |
| `sharpness` | gradient energy in the hole, divided by that of the target | 1 = equal, less = blurred |

L1 is the mean absolute difference in % of the range, over pixels and channels. PSNR is 10 log10(1 / mean squared error)
over pixels and channels, so PSNR of the composite = hole PSNR + 10 log10(1 / ratio). SSIM is that of Wang et al. (2004)
in scikit-image's `gaussian_weights=True`: Gaussian window of sigma 1.5 and 11 taps, population covariance, K = 0.01 and
0.03, range 1, separate channels. Its mean excludes 5 pixels along the edges; `hole_ssim` is the mean over all missing
pixels, with the picture mirrored at its edges. Predictions are scored as float32, not rounded to 8 bits.

Gradient energy is the sum of squared differences between neighbours that are both missing. A noise floor of 1 % of the
range is added to both energies, so that a hole in a cloudless sky does not divide by zero.
"""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

PSNR_CAP_DB = 100.0  # score of a perfect prediction, since infinity fits neither JSON nor a mean
_SIGMA, _TAPS = 1.5, 11
_C1, _C2 = 0.01**2, 0.03**2
_NOISE = 0.01**2  # energy of an invisible gradient

Floats = npt.NDArray[np.float32]


class Answer(NamedTuple):
    """A pair and its prediction.

    Attributes:
        target: uint8 (H, W, 3), the whole picture.
        hole: uint8 (H, W), 1 where pixels were missing.
        prediction: float32 (H, W, 3) in [0, 1], for every pixel.
    """

    target: npt.NDArray[np.uint8]
    hole: npt.NDArray[np.uint8]
    prediction: Floats


def composite(answer: Answer) -> Floats:
    """Take the missing pixels from `prediction` and the known ones from the picture: float32 (H, W, 3) in [0, 1]."""
    return np.where(answer.hole[..., None] > 0, answer.prediction, to_floats(answer.target))


def to_floats(picture: npt.NDArray[np.uint8]) -> Floats:
    """Convert 8 bits to float32 in [0, 1]."""
    return picture.astype(np.float32) / np.float32(255)


def score(answer: Answer) -> dict[str, float]:
    """Score one pair.

    Returns:
        finite scores by the names above. A pair without missing pixels has the hole scores of a perfect prediction.
    """
    missing = answer.hole > 0
    target, restored = to_floats(answer.target), composite(answer)
    error = restored - target
    hole_error = error[missing]
    ssim = _Ssim(target)
    likeness = ssim.map(restored)
    scores = {
        "hole_psnr": _psnr(hole_error),
        "hole_ssim": float(likeness[missing].mean(dtype=np.float64)) if missing.any() else 1.0,
        "hole_l1_percent": _l1_percent(hole_error),
        "psnr": _psnr(error),
        "ssim": _inner_mean(likeness),
        "l1_percent": _l1_percent(error),
    }
    raw_error = answer.prediction - target
    if np.array_equal(raw_error, error):  # of a method that keeps known pixels
        raw = {f"raw_{name}": scores[name] for name in ("psnr", "ssim", "l1_percent")}
    else:
        raw_ssim = _inner_mean(ssim.map(answer.prediction))
        raw = {"raw_psnr": _psnr(raw_error), "raw_ssim": raw_ssim, "raw_l1_percent": _l1_percent(raw_error)}
    return {**scores, **raw, "sharpness": _sharpness(restored, target, missing)}


def _psnr(error: Floats) -> float:
    mean_square = float(np.mean(np.square(error, dtype=np.float64))) if error.size else 0.0
    return min(PSNR_CAP_DB, -10 * float(np.log10(max(mean_square, 1e-30))))


def _l1_percent(error: Floats) -> float:
    return 100 * float(np.mean(np.abs(error, dtype=np.float64))) if error.size else 0.0


class _Ssim:
    """SSIM with one picture, float32 (H, W, 3), whose statistics are computed once."""

    def __init__(self, target: Floats) -> None:
        self._target = target
        self._mean = _blur(target)
        self._square = _blur(target * target)

    def map(self, picture: Floats) -> Floats:
        """Return the SSIM of the window around every pixel and channel, float32 (H, W, 3)."""
        x, y = self._mean, _blur(picture)
        var_x, var_y = self._square - x * x, _blur(picture * picture) - y * y
        covariance = _blur(self._target * picture) - x * y
        likeness = (2 * x * y + _C1) * (2 * covariance + _C2) / ((x * x + y * y + _C1) * (var_x + var_y + _C2))
        return np.asarray(likeness, np.float32)


def _inner_mean(likeness: Floats) -> float:
    edge = _TAPS // 2
    return float(likeness[edge:-edge, edge:-edge].mean(dtype=np.float64))


def _blur(picture: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(picture, (_TAPS, _TAPS), _SIGMA, borderType=cv2.BORDER_REFLECT))


def _sharpness(restored: Floats, target: Floats, missing: npt.NDArray[np.bool_]) -> float:
    down, right = missing[1:] & missing[:-1], missing[:, 1:] & missing[:, :-1]
    count = int(down.sum() + right.sum())
    if count == 0:
        return 1.0
    made, wanted = (_gradient_energy(picture, down, right) for picture in (restored, target))
    floor = 3 * count * _NOISE  # of three channels
    return (made + floor) / (wanted + floor)


def _gradient_energy(picture: Floats, down: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_]) -> float:
    steps = (np.diff(picture, axis=0) * down[..., None], np.diff(picture, axis=1) * right[..., None])
    return sum(float(np.vdot(step, step)) for step in steps)
