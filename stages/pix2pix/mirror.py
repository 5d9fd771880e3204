"""Texture for holes: known pixels, mirrored at the edge of the hole.

A network that has to invent texture in a large hole repeats a pattern, since all that it sees there is constant. The
picture's own texture does not repeat. It takes the place of the noise z, which the generator of Isola et al. learned to
ignore (§2.1).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_DOUBLINGS = 7  # known pixels are found up to 2^7 - 1 pixels away
_NONE = -1.0
_FAR = 1e6  # pixels, farther than any


def mirrored(picture: Tensor, hole: Tensor) -> Tensor:
    """Mirror known pixels into the holes, along the row or column in which the edge is nearest.

    Args:
        picture: (N, C, H, W), of any range; its values in holes are ignored.
        hole: (N, 1, H, W), 1 where `picture` is missing.

    Returns:
        like `picture`, and equal to it where it is known. In a hole the value as far behind the nearest known pixel to
        the left, right, top or bottom as that is away, at most 127 pixels. A side whose value is missing or outside
        does not count; without any the value is 0.
    """
    known = hole < 0.5
    copy, nearest = torch.zeros_like(picture), torch.full_like(hole, _FAR, dtype=torch.float32)
    for dim in (3, 2):
        before = _from_before(picture, known, dim)
        after = (part.flip(dim) for part in _from_before(picture.flip(dim), known.flip(dim), dim))
        for value, distance in (before, after):
            copy = value.where(distance < nearest, copy)
            nearest = torch.minimum(nearest, distance)
    return copy


def _from_before(picture: Tensor, known: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Mirror at the last known pixel before each, of smaller index in `dim`.

    Returns:
        the values, like `picture`, and how far away the known pixel is, (N, 1, H, W).
    """
    size = known.shape[dim]
    position = torch.arange(size, device=picture.device, dtype=torch.float32)
    position = position.view((1, 1, size, 1) if dim == 2 else (1, 1, 1, size))
    edge = position.where(known, _NONE)
    for doubling in range(_DOUBLINGS):  # the running maximum; cummax cannot be exported to ONNX
        shift = 2**doubling
        before = F.pad(edge, (0, 0, shift, 0) if dim == 2 else (shift, 0), value=_NONE).narrow(dim, 0, size)
        edge = torch.maximum(edge, before)
    source = 2 * edge - position
    index = source.clamp(min=0).long()
    found = (edge >= 0) & (source >= 0) & known.gather(dim, index)
    value = picture.gather(dim, index.expand(-1, picture.shape[1], -1, -1))
    return value, (position - edge).where(found, _FAR)
