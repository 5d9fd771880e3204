"""Classical methods, without training: the baseline for trained models.

| name | method |
|---|---|
| `mean` | the mean colour of the known pixels |
| `telea` | weighted means of the nearest known pixels, from the edge inwards (Telea 2004) |
| `navier_stokes` | lines of equal brightness continued into the hole like a fluid flow (Bertalmio et al. 2001) |
| `harmonic` | every missing pixel is the mean of its neighbours (Laplace's equation) |
| `biharmonic` | the smoothest surface through the known pixels (Damelin and Hoang 2018) |
| `patchmatch` | patches copied from the picture (Barnes et al. 2009), by the package pypatchmatch |
| `fsr` | a frequency model fitted block by block (Genser et al. 2018), by OpenCV's contributed modules |

    filled = fill("telea", image, hole)
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.inpainting.cropping import detail

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

RADIUS_PX = 3  # neighbourhood for OpenCV's methods, as in its tutorial
GREY = 0.5  # if no pixel is known


def fill(method: str, image: Pixels, hole: Pixels) -> Floats:
    """Fill the holes of one picture by a classical method.

    Args:
        method: one of `METHODS`.
        image: uint8 (H, W, 3); its values in holes are ignored.
        hole: uint8 (H, W), 1 where `image` is missing, 0 elsewhere.

    Returns:
        float32 (H, W, 3) in [0, 1]; known pixels are those of `image`. All grey if no pixel is known.

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
    # Fill holes with the mean colour first, since OpenCV's methods read some of the values there.
    image = np.where(missing[..., None], _mean_colour(image, missing).round().astype(np.uint8), image)
    filled = METHODS[method](image, missing)
    return np.where(missing[..., None], filled, np.float32(image) / np.float32(255)).astype(np.float32)


def problem(method: str) -> str:
    """Return why a method is not available on this machine and what to install, "" if it is available."""
    if method == "patchmatch" and (why := detail.problem()):
        return f"patchmatch is not available: {why}"
    if method == "fsr":
        import cv2

        if not hasattr(cv2, "xphoto"):
            return (
                "fsr needs OpenCV's contributed modules: pip install opencv-contrib-python-headless, which replaces "
                "opencv-python-headless"
            )
    return ""


def _mean(image: Pixels, missing: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    return np.broadcast_to(_mean_colour(image, missing) / 255, image.shape)


def _mean_colour(image: Pixels, missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the mean of the known pixels, (3,); a matrix product is 15 times as fast as indexing."""
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
    """Solve for each missing pixel: number of neighbours x colour - missing neighbours = known neighbours."""
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
    # Symmetric positive definite, so no pivoting; panels of one column halve the time for such a sparse matrix.
    factors = splu(equations, "MMD_AT_PLUS_A", 0, relax=1, panel_size=1, options={"SymmetricMode": True})
    filled[missing] = factors.solve(known_sum[missing])
    return filled


def _neighbours() -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Yield the slices of pixels and of their neighbours, for each of the four directions."""
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
