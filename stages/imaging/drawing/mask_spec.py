"""Random holes of a given kind, ratio and position: draw until one meets the spec.

wanted = MaskSpec(low=0.1, high=0.2, ratio=0.15, border=False)
hole = draw_hole("strokes", (48, 64), wanted, np.random.default_rng(0))     # uint8 (48, 64), 1 = missing
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stages.imaging.drawing.blobs import draw_blobs
from stages.imaging.drawing.boxes import draw_boxes, draw_challenge
from stages.imaging.drawing.everyday import EVERYDAY_KINDS, draw_everyday
from stages.imaging.drawing.strokes import draw_strokes
from stages.imaging.holes import Pixels, Shape, hole_ratio, margin, touches_border
from stages.runtime.errors import InputError

MOST_ATTEMPTS = 300
# An everyday hole is cut from a larger one, so it can be as deep as in a photograph that the tile is part of.
_LARGEST_CANVAS = 1.75


@dataclass(frozen=True)
class MaskSpec:
    """Requirements on a hole.

    Attributes:
        low: the ratio must be greater than this,
        high: and at most this.
        ratio: to aim at, for kinds that can.
        border: whether some pixel in the margin must be missing; None if it does not matter.
    """

    low: float
    high: float
    ratio: float
    border: bool | None

    def allows(self, hole: Pixels) -> bool:
        """Return whether a hole meets the requirements."""
        return self.low < hole_ratio(hole) <= self.high and self.border in (None, touches_border(hole))


_DRAWN: dict[str, Callable[[Shape, float, Shape, np.random.Generator], Pixels]] = {
    "strokes": draw_strokes,
    "blobs": draw_blobs,
    "boxes": draw_boxes,
    "challenge": lambda shape, _, free, rng: draw_challenge(shape, free, rng),
}


def _cut_everyday(shape: Shape, rng: np.random.Generator) -> Pixels:
    h, w = shape
    larger = rng.uniform(1, _LARGEST_CANVAS)
    hole = draw_everyday(str(rng.choice(EVERYDAY_KINDS)), (round(h * larger), round(w * larger)), rng)
    top, left = (int(rng.integers(0, have - want + 1)) for have, want in zip(hole.shape, shape, strict=True))
    return hole[top : top + h, left : left + w].copy()


def first_allowed(draw: Callable[[float], Pixels], kind: str, wanted: MaskSpec) -> Pixels:
    """Draw until a hole meets the spec.

    Args:
        draw: called with the ratio to aim at. It moves towards the middle of the range with every failed attempt, since
            a last stroke often carries a hole beyond the edge of the range.
        kind: for the error message.
        wanted: the spec.

    Raises:
        InputError: none of `MOST_ATTEMPTS` holes meets it.
    """
    middle = (wanted.low + wanted.high) / 2
    for attempt in range(MOST_ATTEMPTS):
        hole = draw(wanted.ratio + (middle - wanted.ratio) * min(attempt / 30, 1))
        if wanted.allows(hole):
            return hole
    side = {None: "", True: " that touches the border", False: " that does not touch the border"}[wanted.border]
    raise InputError(
        f"no `{kind}` hole{side} with a ratio in ({wanted.low:g}, {wanted.high:g}] in {MOST_ATTEMPTS} attempts; "
        f"widen `masks.ratio_range`, enlarge `tile_size`, or give this kind no share"
    )


def draw_hole(kind: str, shape: Shape, wanted: MaskSpec, rng: np.random.Generator) -> Pixels:
    """Draw holes of a kind until one meets the spec.

    Args:
        kind: strokes, blobs, boxes, challenge or everyday.
        shape: (H, W).
        wanted: the spec.
        rng: source of the random numbers.

    Returns:
        uint8 (H, W), 1 = missing; a blob if no everyday hole meets the spec, which is one in a hundred.

    Raises:
        InputError: none of `MOST_ATTEMPTS` holes meets it.
        ValueError: there is no such kind.
    """
    free = margin(shape) if wanted.border is False else (0, 0)
    if kind == "everyday":
        try:
            return first_allowed(lambda _: _cut_everyday(shape, rng), kind, wanted)
        except InputError:
            kind = "blobs"
    if kind not in _DRAWN:
        raise ValueError(f"`kind` should be {', '.join(_DRAWN)} or everyday, but is {kind!r}")
    return first_allowed(lambda ratio: _DRAWN[kind](shape, ratio, free, rng), kind, wanted)
