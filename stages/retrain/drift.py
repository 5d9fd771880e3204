"""How new photographs differ from those that are there: what can be seen in a picture, by the tests of scipy.

    findings = compare(measure(known), measure(new), least=8)
    unlike = [finding for finding in findings if finding.name == "distance" and finding.statistic > 0.8]

Six measures a photograph: brightness, contrast, sharpness, colourfulness, size, and the distance of its embedded
features (EfficientNet-Lite0) from those of the nearest photograph that is there. Each is compared by the
Kolmogorov-Smirnov test for two samples; its statistic, 0 to 1, is the largest gap between the two distributions and
says how much they differ, its p-value, by Holm's method over all measures, whether that can be chance.
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
    "distance": "of embedded features from the nearest photograph that is there, 0 to 2",
}
_SIDE = 224  # pixels of the short side at which photographs are looked at
_CROP = 224
_BATCH = 16

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """What was measured of some photographs.

    Attributes:
        signs: a row a photograph, a column a sign but for the distance.
        features: (N, C), each row of length 1.
        unusable: how many files were no pictures.
    """

    signs: pd.DataFrame
    features: Floats
    unusable: int


@dataclass(frozen=True)
class Shift:
    """How one measure differs.

    Attributes:
        name: of the measure, one of `SIGNS`.
        known: median of the photographs that are there.
        new: median of the new ones.
        statistic: of Kolmogorov and Smirnov, 0 to 1.
        p: the chance of such a difference among photographs of one kind, by Holm's method.
    """

    name: str
    known: float
    new: float
    statistic: float
    p: float

    def __str__(self) -> str:
        return f"{self.name} {self.known:.3g} -> {self.new:.3g} (D = {self.statistic:.2f}, p = {self.p:.2g})"


def measure(paths: Sequence[Path]) -> Measured:
    """Look at photographs.

    Args:
        paths: of files; what cannot be decoded is counted and left out.
    """
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
    """Compare new photographs with those that are there.

    Args:
        known: those that are there.
        new: those that come.
        least: of either; with fewer, nothing is said.

    Returns:
        a finding a measure, in the order of `SIGNS`.
    """
    from scipy.stats import ks_2samp

    if min(len(known.signs), len(new.signs)) < max(least, 2):
        return []
    pairs = _samples(known, new)
    tests = {name: ks_2samp(*samples) for name, samples in pairs.items()}
    corrected = _holm([float(tests[name].pvalue) for name in SIGNS])
    return [
        Shift(name, float(np.median(pairs[name][0])), float(np.median(pairs[name][1])), float(tests[name].statistic), p)
        for name, p in zip(SIGNS, corrected, strict=True)
    ]


def _samples(known: Measured, new: Measured) -> dict[str, tuple[Floats, Floats]]:
    samples = {str(name): (known.signs[name].to_numpy(), new.signs[name].to_numpy()) for name in known.signs}
    return samples | {"distance": (_nearest(known.features, None), _nearest(new.features, known.features))}


def _nearest(features: Floats, others: Floats | None) -> Floats:
    """Return the distance of each row from the nearest of the others, or from the nearest but itself."""
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


def page(known: Measured, new: Measured, findings: Sequence[Shift]) -> str:
    """Show the distributions that `compare` has compared, side by side: HTML."""
    rows = [
        (one.name, f"{one.known:.3g}", f"{one.new:.3g}", f"{one.statistic:.2f}", f"{one.p:.2g}") for one in findings
    ]
    note = (
        "D is the largest gap between the two distributions (0 to 1), p the chance of such a gap among photographs of "
        "one kind, by Holm's method."
    )
    histograms = [
        Histogram(f"{name}: {SIGNS[name]}", {"there": there, "new": come}, *_range(there, come))
        for name, (there, come) in _samples(known, new).items()
    ]
    facts = [("measure", "median there", "median of new ones", "D", "p"), *rows]
    lead = f"{len(new.signs)} new photographs beside {len(known.signs)} of those that are there."
    unusable = f" {new.unusable} of the new files are no pictures." if new.unusable else ""
    section = Section("What can be seen in them", note, facts=facts, histograms=histograms)
    return render(Page("How new photographs differ", lead + unusable, [section]))


def _range(*samples: Floats) -> tuple[float, float]:
    low, high = (float(end(np.concatenate(samples))) for end in (np.min, np.max))
    return low, high if high > low else low + 1
