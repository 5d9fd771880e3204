"""How far the fill of a hole repeats itself: lattices, which eyes see and perceptual distances do not.

A network that has to invent texture tends to paint one pattern again and again. Its squared error is small, and the
features of a classifier find it as good as texture, so a loss and a score have to look for it:

    loss = repetition_loss(composite, target, hole)     # any pattern that the target does not have
    scores = lattice(composite, target, hole)           # patterns in step with the grid of strided layers

Both look at the autocorrelation of colours in the hole, without what is smooth over 6 pixels (for masked pictures:
Padfield, IEEE TIP 2012). A pattern gives a peak there; an edge gives a ridge, which does not fall on the way from
lag 0.
"""

from collections.abc import Sequence
from functools import cache
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

_SIGMA = 6.0  # pixels, of the Gaussian that is subtracted
_SHRUNK = 4
_INVISIBLE = (2 / 255) ** 2  # variance; fills are compared with no less
# The loss
_SHORTEST, _LONGEST = 4, 32  # pixels: lags
_RISE = 0.1  # over the lowest correlation on the way to a lag, from which on it counts as a peak
_ON_THE_WAY = (0.3, 0.4, 0.5, 0.6, 0.7)
_OVERLAP = 0.3  # share of the hole that overlaps with the moved one; less is too few pixels to compare
_WORST = 24  # lags: a lattice has a few peaks of some pixels each
# The score
_GRID = 16  # pixels: networks of 4 layers and more have it, and photographs have it no more than other lengths
_BESIDE = 5  # pixels from lags on the grid to those that they are compared with
_GRID_OVERLAP = 0.15

_REACH = _LONGEST + _BESIDE  # the longest lag that is computed
_SIDE = 2 * _REACH + 1


def lattice(made: Tensor, target: Tensor, hole: Tensor) -> Tensor:
    """Return how much more each fill equals itself at lags of 16 and 32 pixels than at those beside them.

    Of the lags beside, those of two opposite sides that correlate most are compared: along an edge or a stripe a fill
    equals itself at all lags, and that is no lattice.

    Args:
        made: composites, (N, 3, H, W), in [0, 1] or little beyond.
        target: like `made`.
        hole: (N, 1, H, W), float32, 1 where pixels were missing.

    Returns:
        (N,), 0 to 1: the mean difference of correlations, smaller where the fill has less contrast than the target.
        0 if nothing is in step with the grid, and for holes that are narrower than it.
    """
    correlation, overlap = _relative(_fine_part(made, hole), _fine_part(target, hole), hole)
    on_grid, before, after = _grid(made.device)
    shared = torch.minimum(overlap[:, before], overlap[:, after]).amin(dim=1).minimum(overlap[:, on_grid])
    beside = ((correlation[:, before] + correlation[:, after]) / 2).amax(dim=1)
    counts = shared > _GRID_OVERLAP
    contrast = (correlation[:, on_grid] - beside).where(counts, 0.0)
    return (contrast.sum(dim=1) / counts.sum(dim=1).clamp(min=1)).clamp(0, 1)


def repetition_loss(made: Tensor, target: Tensor, hole: Tensor) -> Tensor:
    """Return how far fills equal themselves at the worst 24 lags of 4 to 32 pixels, beyond what targets do.

    Args:
        made: composites, (N, 3, H, W), in [0, 1] or little beyond.
        target: like `made`.
        hole: (N, 1, H, W), float32, 1 where pixels were missing.

    Returns:
        a scalar: the mean correlation, 0 to 1. Its gradient asks for other patterns and for no other contrast; fills of
        much less contrast than the target cost nothing.
    """
    lags, on_the_way = _ring(made.device)
    wanted = _fine_part(target, hole)
    correlation, overlap = _relative(_fine_part(made, hole), wanted, hole)
    with torch.no_grad():
        theirs = _relative(wanted, wanted, hole)[0][:, lags].clamp(min=0)
        is_peak = correlation[:, lags] - correlation[:, on_the_way].amin(dim=1) > _RISE
        counts = is_peak & (overlap[:, lags] > _OVERLAP)
    excess = (correlation[:, lags] - theirs).clamp(min=0).where(counts, 0.0)
    return excess.topk(_WORST, dim=1).values.mean()


def _relative(fine: Tensor, wanted: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
    """Correlate the fine part of each fill with itself, times its variance over the target's if that is larger.

    Returns:
        the correlation at each lag, flattened, and the share of the hole that overlaps there: both (N, side^2).
    """
    variance, wanted_variance = (part.square().mean(dim=(1, 2, 3)) for part in (fine, wanted))
    share = hole.mean(dim=(1, 2, 3)).clamp(min=1e-12)
    largest = torch.maximum(variance, wanted_variance).maximum(_INVISIBLE * share)
    correlation, overlap = _autocorrelation(fine, hole)
    # A constant, so that no gradient asks for another contrast.
    return correlation * (variance / largest).detach()[:, None], overlap


def _fine_part(picture: Tensor, hole: Tensor) -> Tensor:
    """Return what is in holes without what is smooth there, like `picture` in float32, and 0 elsewhere."""
    with torch.autocast(picture.device.type, enabled=False):  # half precision does not hold sums over a picture
        picture = picture.float()
        return (picture - _smooth(picture * hole) / _smooth(hole).clamp(min=1e-3)) * hole


def _autocorrelation(fine: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
    """Correlate colours (N, 3, H, W), 0 outside of the hole, with themselves: the same as `_relative` returns."""
    size = [max(length, _REACH + 1) + _REACH for length in fine.shape[2:]]  # so that nothing wraps around
    values, squares, ones = (torch.fft.rfft2(part, s=size) for part in (fine, fine.square().sum(1, True), hole))

    def correlate(one: Tensor, other: Tensor) -> Tensor:
        product = (one.conj() * other).sum(dim=1)
        lags: Tensor = torch.fft.fftshift(torch.fft.irfft2(product, s=size), dim=(-2, -1))
        top, left = (length // 2 - _REACH for length in size)
        return lags[:, top : top + _SIDE, left : left + _SIDE].flatten(1)

    area = hole.sum(dim=(1, 2, 3)).clamp(min=1)[:, None]
    energy = correlate(squares, ones).clamp(min=0)  # of the moved hole's part that overlaps; flipped, of the other's
    floor = (1e-5 * area).square()  # of the rounding of the transforms
    correlation = correlate(values, values) / (energy * energy.flip(1) + floor).sqrt()
    return correlation, correlate(ones, ones) / area


def _smooth(picture: Tensor) -> Tensor:
    """Blur (N, C, H, W) by about a Gaussian of `_SIGMA`, at a quarter of the size for speed; edges are repeated."""
    small, sigma, channels = F.avg_pool2d(picture, _SHRUNK, ceil_mode=True), _SIGMA / _SHRUNK, picture.shape[1]
    reach = round(3 * sigma)
    taps = torch.arange(-reach, reach + 1, device=picture.device, dtype=picture.dtype)
    kernel = torch.softmax(-taps.square() / (2 * sigma**2), dim=0).expand(channels, 1, -1)
    small = F.pad(small, (reach, reach, reach, reach), mode="replicate")
    small = F.conv2d(F.conv2d(small, kernel[:, :, None], groups=channels), kernel[..., None], groups=channels)
    return F.interpolate(small, picture.shape[-2:], mode="bilinear", align_corners=False)


@cache
@torch.inference_mode(False)  # kept for later calls, which may need gradients
def _ring(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the flat indices of the lags of the loss, (L,), and of those on the way to each, (5, L)."""
    chosen = [
        (y, x)
        for y, x in product(range(_LONGEST + 1), range(-_LONGEST, _LONGEST + 1))
        if _SHORTEST <= (y**2 + x**2) ** 0.5 <= _LONGEST and (y > 0 or x > 0)  # the other half is its mirror image
    ]
    ways = [_index([(y * way, x * way) for y, x in chosen]) for way in _ON_THE_WAY]
    return _index(chosen).to(device), torch.stack(ways).to(device)


@cache
@torch.inference_mode(False)
def _grid(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the flat indices of the lags on the grid, (G,), and of those on opposite sides of each, both (4, G)."""
    chosen = [(0, 1), (0, 2), (1, 0), (1, 1), (1, -1), (2, 0)]  # in steps of the grid; longer ones overlap little
    lags = [(y * _GRID, x * _GRID) for y, x in chosen]
    steps = [(y * _BESIDE, x * _BESIDE) for y, x in ((0, 1), (1, 0), (1, 1), (1, -1))]
    before, after = (
        torch.stack([_index([(y + sign * down, x + sign * right) for y, x in lags]) for down, right in steps]).to(
            device
        )
        for sign in (-1, 1)
    )
    return _index(lags).to(device), before, after


def _index(lags: Sequence[tuple[float, float]]) -> Tensor:
    return torch.tensor([(round(y) + _REACH) * _SIDE + round(x) + _REACH for y, x in lags])
