"""Methods that learn nothing: what a trained model has to beat.

| name | fills a hole with |
|---|---|
| `mean` | the mean colour of the known pixels |
| `telea` | weighted means of the nearest known pixels, from the edge of the hole inwards (Telea 2004) |
| `navier_stokes` | lines of equal brightness, prolonged into the hole as a fluid would flow (Bertalmio et al. 2001) |
| `harmonic` | a membrane over the known pixels: each pixel the mean of its neighbours (Laplace's equation) |
| `biharmonic` | the smoothest surface that meets the known pixels (Damelin and Hoang 2018) |
| `patchmatch` | patches of the picture itself (Barnes et al. 2009), by the package pypatchmatch |
| `fsr` | a model of frequencies, fitted block by block (Genser et al. 2018), by OpenCV's contributed modules |

    filled = fill("telea", image, hole)
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.inpainting.cropping import detail

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

RADIUS_PX = 3  # the neighbourhood that OpenCV's methods look at, as in OpenCV's own tutorial
GREY = 0.5  # where no pixel is known, no colour is better than another


def fill(method: str, image: Pixels, hole: Pixels) -> Floats:
    """Fill the holes of one picture by a classical method.

    Args:
        method: one of `METHODS`.
        image: uint8 (H, W, 3); what stands in its holes is ignored.
        hole: uint8 (H, W), 1 where `image` is missing, 0 elsewhere.

    Returns:
        float32 (H, W, 3) in [0, 1]; the known pixels are those of `image`. Grey where nothing is known.

    Raises:
        ValueError: there is no such method, or `image` and `hole` differ in size.
    """
    if method not in METHODS:
        raise ValueError(f"method should be one of {', '.join(METHODS)}, but is {method!r}")
    if image.shape != (*hole.shape, 3):
        raise ValueError(f"image should be (H, W, 3) and hole (H, W), but they are {image.shape} and {hole.shape}")
    missing = hole.astype(bool)
    if missing.all():
        return np.full(image.shape, GREY, np.float32)
    if not missing.any():
        return image.astype(np.float32) / np.float32(255)
    # Mean colour under the holes from the start: OpenCV's methods read a little of what stands there.
    image = np.where(missing[..., None], _mean_colour(image, missing).round().astype(np.uint8), image)
    filled = METHODS[method](image, missing)
    return np.where(missing[..., None], filled, np.float32(image) / np.float32(255)).astype(np.float32)


def problem(method: str) -> str:
    """Say why a method cannot be used on this machine, and what to install; "" where it can."""
    if method == "patchmatch" and (why := detail.problem()):
        return f"patchmatch cannot be used: {why}"
    if method == "fsr":
        import cv2

        if not hasattr(cv2, "xphoto"):
            return (
                "fsr needs OpenCV's contributed modules: pip install opencv-contrib-python-headless, which takes the "
                "place of opencv-python-headless"
            )
    return ""


def _mean(image: Pixels, missing: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    return np.broadcast_to(_mean_colour(image, missing) / 255, image.shape)


def _mean_colour(image: Pixels, missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the mean of the known pixels, (3,); by a product, 15 times as fast as picking them out."""
    known = ~missing.ravel()
    colour: npt.NDArray[np.float64] = known.astype(np.float64) @ image.reshape(-1, 3) / known.sum()
    return colour


def _telea(image: Pixels, missing: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    import cv2

    return np.asarray(cv2.inpaint(image, missing.astype(np.uint8), RADIUS_PX, cv2.INPAINT_TELEA)) / 255


def _navier_stokes(image: Pixels, missing: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    import cv2

    return np.asarray(cv2.inpaint(image, missing.astype(np.uint8), RADIUS_PX, cv2.INPAINT_NS)) / 255


def _harmonic(image: Pixels, missing: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Solve, for the missing pixels: neighbours within the picture x colour - missing neighbours = known neighbours."""
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import splu

    filled = np.where(missing[..., None], 0.0, image / 255)
    unknown = np.zeros(missing.shape, np.int32)
    unknown[missing] = np.arange(missing.sum())
    known_sum, num_neighbours = np.zeros(image.shape), np.zeros(missing.shape)
    rows, columns = [unknown[missing]], [unknown[missing]]
    for one, other in _neighbours():
        known_sum[one] += filled[other]
        num_neighbours[one] += 1
        both = missing[one] & missing[other]
        rows.append(unknown[one][both])
        columns.append(unknown[other][both])
    values = [num_neighbours[missing], *(np.full(len(edges), -1.0) for edges in rows[1:])]
    equations = csc_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))))
    # Symmetric and positive definite, so without pivots; panels of one column suit such a sparse matrix: half the time.
    factors = splu(equations, "MMD_AT_PLUS_A", 0, relax=1, panel_size=1, options={"SymmetricMode": True})
    filled[missing] = factors.solve(known_sum[missing])
    return filled


def _neighbours() -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Yield where pixels are and where their neighbours to one side, for each of the four sides."""
    every, first, last = slice(None), slice(None, -1), slice(1, None)
    for one, other in ((first, last), (last, first)):
        yield (one, every), (other, every)
        yield (every, one), (every, other)


def _biharmonic(image: Pixels, missing: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    from skimage.restoration import inpaint_biharmonic

    filled: npt.NDArray[Any] = inpaint_biharmonic(image, missing, channel_axis=2)
    return filled.clip(0, 1)


def _patchmatch(image: Pixels, missing: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    return detail.patchmatch_fill(image, missing).astype(np.float32) / 255


def _fsr(image: Pixels, missing: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    from cv2 import xphoto  # type: ignore[attr-defined]  # of the contributed modules alone

    filled = np.zeros_like(image)
    xphoto.inpaint(image, (~missing).astype(np.uint8) * 255, filled, xphoto.INPAINT_FSR_FAST)
    return filled.astype(np.float32) / 255


METHODS: dict[str, Callable[[Pixels, npt.NDArray[np.bool_]], npt.NDArray[Any]]] = {
    "mean": _mean,
    "telea": _telea,
    "navier_stokes": _navier_stokes,
    "harmonic": _harmonic,
    "biharmonic": _biharmonic,
    "patchmatch": _patchmatch,
    "fsr": _fsr,
}
