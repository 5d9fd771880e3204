"""Holes of a given kind, ratio and place: draw until one is what is wanted.

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
# Of which an everyday hole is cut: so it can be as deep as in a photograph that a tile is part of.
_LARGEST_CANVAS = 1.75


@dataclass(frozen=True)
class MaskSpec:
    """What is asked of a hole.

    Attributes:
        low: the ratio is more than this,
        high: and at most this.
        ratio: where between the two a kind that can choose should aim.
        border: whether some pixel in the margin is missing; None where it does not matter.
    """

    low: float
    high: float
    ratio: float
    border: bool | None

    def allows(self, hole: Pixels) -> bool:
        """Tell whether a hole is what is asked for."""
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
    """Return the first drawing that is what is wanted.

    Args:
        draw: called with the ratio to aim at, which with every vain attempt moves from where it should be towards the
            middle of what is allowed: a last stroke takes many an aim at the edge beyond it.
        kind: for the message.
        wanted: what is asked of the hole.

    Raises:
        InputError: none of `MOST_ATTEMPTS` drawings is.
    """
    middle = (wanted.low + wanted.high) / 2
    for attempt in range(MOST_ATTEMPTS):
        hole = draw(wanted.ratio + (middle - wanted.ratio) * min(attempt / 30, 1))
        if wanted.allows(hole):
            return hole
    side = {None: "", True: " that touches the border", False: " that keeps off the border"}[wanted.border]
    raise InputError(
        f"no `{kind}` hole{side} with a ratio in ({wanted.low:g}, {wanted.high:g}] came of {MOST_ATTEMPTS} drawings; "
        f"widen `masks.ratio_range`, enlarge `tile_size`, or give this kind no share"
    )


def draw_hole(kind: str, shape: Shape, wanted: MaskSpec, rng: np.random.Generator) -> Pixels:
    """Draw and paint holes of a kind until one is what is wanted.

    Args:
        kind: strokes, blobs, boxes, challenge or everyday.
        shape: (H, W).
        wanted: what is asked of the hole.
        rng: where the random numbers come from.

    Returns:
        uint8 (H, W), 1 = missing; a blob where no everyday hole is what is wanted: one in a hundred.

    Raises:
        InputError: none of `MOST_ATTEMPTS` drawings is.
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
