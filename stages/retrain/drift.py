"""Drift: how new photographs differ from the known ones, by what can be seen in a picture.

    shifts = compare(measure(known), measure(new), least=8)
    unlike = [shift for shift in shifts if shift.name == "distance" and shift.statistic > 0.8]

Each photograph has six measures: brightness, contrast, sharpness, colourfulness, size, and the distance of its embedded
features (EfficientNet-Lite0) from those of the nearest known photograph. The two-sample Kolmogorov-Smirnov test
compares each of them: its statistic is the largest gap between the two distributions, 0 to 1; its p-value is corrected
by Holm's method.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.imaging.data_report.charts import Histogram
from stages.imaging.data_report.page import Page, Section, render
from stages.imaging.images import MOST_MEGAPIXELS, BadImageError, decode, open_picture
from stages.runtime.parallel import map_ordered

SIGNS = {
    "brightness": "mean luminance, of 255",
    "contrast": "standard deviation of luminance, of 255",
    "sharpness": "mean gradient of luminance over its standard deviation",
    "colourfulness": "of Hasler and Suesstrunk (2003)",
    "size": "megapixels, as a power of ten",
    "distance": "of embedded features from the nearest known photograph, 0 to 2",
}
_SIDE = 224  # pixels of the short side at which photographs are looked at
_CROP = 224
_BATCH = 16

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """The measures of some photographs.

    Attributes:
        signs: one row per photograph, one column per measure except the distance.
        features: (N, C), rows of length 1.
        unusable: number of files that are no pictures.
    """

    signs: pd.DataFrame
    features: Floats
    unusable: int


@dataclass(frozen=True, eq=False)
class Shift:
    """How one measure differs.

    Attributes:
        name: of the measure, one of `SIGNS`.
        known: its values for the known photographs.
        new: its values for the new ones.
        statistic: of Kolmogorov and Smirnov, 0 to 1.
        p: p-value after Holm's correction.
    """

    name: str
    known: Floats
    new: Floats
    statistic: float
    p: float

    def __str__(self) -> str:
        medians = f"{np.median(self.known):.3g} -> {np.median(self.new):.3g}"
        return f"{self.name} {medians} (D = {self.statistic:.2f}, p = {self.p:.2g})"


def measure(paths: Sequence[Path]) -> Measured:
    """Measure photographs; files that cannot be decoded are counted and left out."""
    looked = [look for look in map_ordered(_look, list(paths), "drift", "photo") if look is not None]
    signs = pd.DataFrame([signs for signs, _ in looked], columns=[name for name in SIGNS if name != "distance"])
    return Measured(signs, _features([crop for _, crop in looked]), len(paths) - len(looked))


def _look(path: Path) -> tuple[dict[str, float], npt.NDArray[np.uint8]] | None:
    from PIL import Image

    try:
        with open_picture(path) as file:
            decoded = decode(file, MOST_MEGAPIXELS, _SIDE)
    except BadImageError:
        return None
    h, w = decoded.pixels.shape[:2]
    scale = _SIDE / min(h, w)
    size = (max(_CROP, round(w * scale)), max(_CROP, round(h * scale)))
    pixels = np.asarray(Image.fromarray(decoded.pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
    top, left = (pixels.shape[0] - _CROP) // 2, (pixels.shape[1] - _CROP) // 2
    return _signs(pixels, decoded.shape), pixels[top : top + _CROP, left : left + _CROP]


def _signs(pixels: npt.NDArray[np.uint8], shape: tuple[int, int]) -> dict[str, float]:
    red, green, blue = (pixels[..., channel].astype(np.float64) for channel in range(3))
    light = 0.299 * red + 0.587 * green + 0.114 * blue
    contrast = float(light.std())
    gradient = float(np.abs(np.diff(light, axis=0)).mean() + np.abs(np.diff(light, axis=1)).mean())
    opposed, other = red - green, (red + green) / 2 - blue
    colourfulness = np.hypot(opposed.std(), other.std()) + 0.3 * np.hypot(opposed.mean(), other.mean())
    return {
        "brightness": float(light.mean()),
        "contrast": contrast,
        "sharpness": gradient / max(contrast, 1.0),
        "colourfulness": float(colourfulness),
        "size": float(np.log10(shape[0] * shape[1] / 1e6)),
    }


def _features(crops: list[npt.NDArray[np.uint8]]) -> Floats:
    import torch

    from stages.imaging import features

    network = features.load("efficientnet_lite0")
    rows: list[Any] = []
    for first in range(0, len(crops), _BATCH):
        batch = torch.from_numpy(np.stack(crops[first : first + _BATCH])).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            deepest = network(batch)[-1]
        rows.append(torch.nn.functional.normalize(deepest.mean(dim=(2, 3)), dim=1).double().numpy())
    return np.concatenate(rows) if rows else np.zeros((0, 1))


def compare(known: Measured, new: Measured, least: int) -> list[Shift]:
    """Compare new photographs with the known ones.

    Args:
        known: measures of the known photographs.
        new: measures of the new ones.
        least: number of either that a comparison needs, at least 2.

    Returns:
        one shift per measure, in the order of `SIGNS`; nothing if there are too few photographs.
    """
    from scipy.stats import ks_2samp

    if min(len(known.signs), len(new.signs)) < least:
        return []
    pairs = {name: (known.signs[name].to_numpy(), new.signs[name].to_numpy()) for name in SIGNS if name in known.signs}
    pairs["distance"] = _nearest(known.features, None), _nearest(new.features, known.features)
    tests = {name: ks_2samp(*pair) for name, pair in pairs.items()}
    corrected = _holm([float(test.pvalue) for test in tests.values()])
    return [
        Shift(name, *pairs[name], float(test.statistic), p)
        for (name, test), p in zip(tests.items(), corrected, strict=True)
    ]


def _nearest(features: Floats, others: Floats | None) -> Floats:
    """Return the distance of each row from the nearest of the others; None: from the nearest other row."""
    products = features @ (features if others is None else others).T
    if others is None:
        np.fill_diagonal(products, -1)
    nearest: Floats = np.sqrt(np.clip(2 - 2 * products.max(axis=1), 0, None))
    return nearest


def _holm(p: list[float]) -> list[float]:
    order, corrected, worst = np.argsort(p), [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, p[place] * (len(p) - rank)))
        corrected[place] = worst
    return corrected


def page(shifts: Sequence[Shift], unusable: int) -> str:
    """Show the distributions side by side, as HTML.

    Args:
        shifts: from `compare`, not empty.
        unusable: number of new files that are no pictures.
    """
    rows = [
        (
            one.name,
            *(f"{np.median(values):.3g}" for values in (one.known, one.new)),
            f"{one.statistic:.2f}",
            f"{one.p:.2g}",
        )
        for one in shifts
    ]
    note = (
        "D is the largest gap between the two distributions (0 to 1); p is the chance of such a gap among photographs "
        "of one kind, after Holm's correction."
    )
    histograms = [
        Histogram.of(
            f"{one.name}: {SIGNS[one.name]}", {"known": one.known, "new": one.new}, *_range(one.known, one.new)
        )
        for one in shifts
    ]
    facts = [("measure", "known median", "new median", "D", "p"), *rows]
    lead = f"{len(shifts[0].new)} new photographs beside {len(shifts[0].known)} known ones."
    more = f" {unusable} of the new files are no pictures." if unusable else ""
    section = Section("What can be seen in them", note, facts=facts, histograms=histograms)
    return render(Page("How new photographs differ", lead + more, [section]))


def _range(*samples: Floats) -> tuple[float, float]:
    low, high = (float(end(np.concatenate(samples))) for end in (np.min, np.max))
    return low, high if high > low else low + 1
