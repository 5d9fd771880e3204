"""Holes like those that people make in photographs: objects painted over, boxes, strokes, scratches, text, dust.

    hole = draw_everyday("object", (321, 481), np.random.default_rng(0))     # uint8 (321, 481), 1 = missing

Objects and boxes measure 10 to 45 % of the shorter side, like objects in photographs. Brushes, scratches, letters and
specks have widths in pixels, whatever the size of the photograph.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from stages.imaging.holes import Pixels, Shape

Floats = npt.NDArray[np.float64]

_ACROSS = (0.1, 0.45)  # of the shorter side
_PEN_PX, _SCRATCH_PX, _SPECK_PX = (8, 33), (2, 7), (1, 4)  # widths and radii, the last excluded
_SPECKS = (60, 400)
_WORDS = ("sample", "proof", "copy", "holiday", "2026", "studio", "do not use", "print")


def _across(shape: Shape, rng: np.random.Generator) -> float:
    return min(shape) * float(np.exp(rng.uniform(*np.log(_ACROSS))))


def _centre(shape: Shape, rng: np.random.Generator) -> Floats:
    """Return x and y of a centre such that an object of any size reaches into the picture."""
    return rng.uniform(0.1, 0.9, 2) * shape[::-1]


def _polygon(corners: Floats, shape: Shape) -> Pixels:
    hole = np.zeros(shape, np.uint8)
    cv2.fillPoly(hole, [np.rint(corners).astype(np.int32)], 1)
    return hole


def _object(shape: Shape, rng: np.random.Generator) -> Pixels:
    """Draw an elongated shape with a smooth outline, such as a person, a dog or a sign."""
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    waves = np.arange(2, 7)
    bumps = (rng.normal(0, 0.28, 5) / np.sqrt(waves))[:, None] * np.cos(
        waves[:, None] * angle + rng.uniform(0, 2 * np.pi, (5, 1))
    )
    radius = _across(shape, rng) / 2 * np.exp(bumps.sum(axis=0))
    stretch, turn = np.exp(rng.uniform(-0.5, 0.5)), rng.uniform(0, np.pi)
    x, y = radius * np.cos(angle) * stretch, radius * np.sin(angle) / stretch
    outline = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)
    return _polygon(_centre(shape, rng) + np.asarray(outline, np.float64), shape)


def _hull(shape: Shape, rng: np.random.Generator) -> Pixels:
    """Draw the convex hull of a few points, like a lasso selection."""
    points = _centre(shape, rng) + rng.uniform(-0.5, 0.5, (int(rng.integers(6, 12)), 2)) * 1.2 * _across(shape, rng)
    return _polygon(np.asarray(cv2.convexHull(points.astype(np.float32))[:, 0], np.float64), shape)


def _box(shape: Shape, rng: np.random.Generator) -> Pixels:
    half = np.array([_across(shape, rng), _across(shape, rng)]) / 2
    (left, top), (right, bottom) = (np.rint(_centre(shape, rng) + side * half).astype(int) for side in (-1, 1))
    hole = np.zeros(shape, np.uint8)
    hole[max(0, top) : bottom + 1, max(0, left) : right + 1] = 1
    return hole


def _line(hole: Pixels, points: Floats, width: int) -> None:
    cv2.polylines(hole, [np.rint(points).astype(np.int32)], isClosed=False, color=1, thickness=width)


def _stroke(shape: Shape, rng: np.random.Generator) -> Pixels:
    """Draw one to three brush strokes, each a random walk that turns a little."""
    hole = np.zeros(shape, np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        headings = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.5, int(rng.integers(4, 10))))
        steps = min(shape) * rng.uniform(0.04, 0.12) * np.stack([np.cos(headings), np.sin(headings)], axis=1)
        _line(hole, _centre(shape, rng) + np.cumsum(steps, axis=0), int(rng.integers(*_PEN_PX)))
    return hole


def _scratch(shape: Shape, rng: np.random.Generator) -> Pixels:
    """Draw one to three thin lines from one edge to the opposite one."""
    hole = np.zeros(shape, np.uint8)
    h, w = shape
    for _ in range(int(rng.integers(1, 4))):
        along = np.linspace(-0.01, 1.01, 24)
        across = np.interp(along, [0, 1], rng.uniform(0, 1, 2)) + np.cumsum(rng.normal(0, 0.004, 24))
        points = np.stack([along, across] if rng.random() < 0.5 else [across, along], axis=1) * (w, h)
        _line(hole, points, int(rng.integers(*_SCRATCH_PX)))
    return hole


def _text(shape: Shape, rng: np.random.Generator) -> Pixels:
    """Write lines of thin letters over the whole picture, like a watermark."""
    hole = np.zeros(shape, np.uint8)
    height = float(rng.uniform(0.5, 1.1))  # 11 to 24 pixels
    for y in range(int(rng.integers(20, 60)), shape[0], int(rng.integers(40, 110))):
        words = " ".join(rng.choice(_WORDS, 1 + shape[1] // 120))
        cv2.putText(hole, words, (int(rng.integers(-30, 30)), y), cv2.FONT_HERSHEY_SIMPLEX, height, 1, 2)
    return hole


def _dust(shape: Shape, rng: np.random.Generator) -> Pixels:
    hole = np.zeros(shape, np.uint8)
    for _ in range(int(rng.integers(*_SPECKS))):
        x, y = rng.uniform(0, 1, 2) * shape[::-1]
        cv2.circle(hole, (int(x), int(y)), int(rng.integers(*_SPECK_PX)), 1, -1)
    return hole


_DRAWN: dict[str, Callable[[Shape, np.random.Generator], Pixels]] = {
    "object": _object,
    "hull": _hull,
    "box": _box,
    "stroke": _stroke,
    "scratch": _scratch,
    "text": _text,
    "dust": _dust,
}
EVERYDAY_KINDS = tuple(_DRAWN)


def draw_everyday(kind: str, shape: Shape, rng: np.random.Generator) -> Pixels:
    """Draw a hole of a kind.

    Args:
        kind: one of `EVERYDAY_KINDS`.
        shape: (H, W) of the photograph.
        rng: source of the random numbers.

    Returns:
        uint8 (H, W), 1 = missing; neither empty nor full.
    """
    while True:
        hole = _DRAWN[kind](shape, rng)
        if 0 < np.count_nonzero(hole) < hole.size:
            return hole
