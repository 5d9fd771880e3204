"""Methods that learn nothing: what a trained model has to beat.

| name | fills a hole with |
|---|---|
| `mean` | the mean colour of the known pixels |
| `telea` | weighted means of the nearest known pixels, from the edge of the hole inwards (Telea 2004) |
| `navier_stokes` | lines of equal brightness, prolonged into the hole as a fluid would flow (Bertalmio et al. 2001) |
| `harmonic` | a membrane over the known pixels: each pixel the mean of its neighbours (Laplace's equation) |
| `biharmonic` | the smoothest surface that meets the known pixels (Damelin and Hoang 2018) |

    filled = fill("telea", image, hole)
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

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
    # Mean colour under the holes from the start: OpenCV's methods read a little of what stands there.
    image = np.where(missing[..., None], image[~missing].mean(axis=0).round(), image).astype(np.uint8)
    filled = METHODS[method](image, missing)
    return np.where(missing[..., None], filled, np.float32(image) / np.float32(255)).astype(np.float32)


def _mean(image: Pixels, missing: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    return np.broadcast_to(image[~missing].mean(axis=0) / 255, image.shape)


def _telea(image: Pixels, missing: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    import cv2

    return np.asarray(cv2.inpaint(image, missing.astype(np.uint8), RADIUS_PX, cv2.INPAINT_TELEA)) / 255


def _navier_stokes(image: Pixels, missing: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    import cv2

    return np.asarray(cv2.inpaint(image, missing.astype(np.uint8), RADIUS_PX, cv2.INPAINT_NS)) / 255


def _harmonic(image: Pixels, missing: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import laplacian
    from scipy.sparse.linalg import spsolve

    pixel = np.arange(missing.size).reshape(missing.shape)
    across, down = (pixel[:, :-1], pixel[:, 1:]), (pixel[:-1], pixel[1:])
    neighbours = np.concatenate([np.stack(pairs).reshape(2, -1) for pairs in (across, down)], axis=1)
    grid = coo_array((np.ones(neighbours.shape[1]), tuple(neighbours)), shape=(missing.size, missing.size))
    equations = laplacian(grid + grid.T, form="array").tocsr()[missing.ravel()]
    known = equations[:, ~missing.ravel()] @ (image[~missing] / 255)
    filled = image / 255
    unknowns = equations[:, missing.ravel()].tocsc()
    filled[missing] = spsolve(unknowns, -known, permc_spec="MMD_AT_PLUS_A").reshape(-1, 3)  # of symmetric equations
    return filled


def _biharmonic(image: Pixels, missing: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    from skimage.restoration import inpaint_biharmonic

    filled: npt.NDArray[Any] = inpaint_biharmonic(image, missing, channel_axis=2)
    return filled.clip(0, 1)


METHODS: dict[str, Callable[[Pixels, npt.NDArray[np.bool_]], npt.NDArray[Any]]] = {
    "mean": _mean,
    "telea": _telea,
    "navier_stokes": _navier_stokes,
    "harmonic": _harmonic,
    "biharmonic": _biharmonic,
}
