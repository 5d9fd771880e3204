"""How often a critic can tell composites from photographs; it is used neither in training nor for selection.

A small network is trained from scratch to tell composites from photographs, given the hole. On pictures that it was not
trained on, it compares both versions; an accuracy of 50 % means that it cannot tell them apart. It is trained on half
of the photographs and tested on the other half, and vice versa, so that every pair is tested.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.imaging.features import mean_in_hole

SIDE = 64  # of the input, in pixels
STEPS = 60
BATCH = 12  # pictures, each in both versions
WIDTH = 32
LEARNING_RATE = 1e-3
MOMENTUM = 0.9

Pixels = npt.NDArray[np.uint8]


class Critic(nn.Module):
    """Classifies every place of a picture as photograph or composite, and averages over the hole."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 4
        for stride in (2, 1, 2, 1):
            layers += [nn.Conv2d(channels, WIDTH, 3, stride, 1), nn.LeakyReLU(0.2)]
            channels = WIDTH
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 1))

    def forward(self, pictures: Tensor, holes: Tensor) -> Tensor:
        """Return (N,) for pictures (N, 3, H, W) in [0, 1] with holes (N, 1, H, W): above 0 means a photograph."""
        return mean_in_hole(self.layers(torch.cat([2 * pictures - 1, holes], dim=1)), holes)

    def preferences(self, pictures: Tensor, holes: Tensor) -> Tensor:
        """Return (N,) for N photographs followed by their composites, and the holes of all: above 0 if it is right."""
        answers: Tensor = self(pictures, holes)
        truth, made = answers.chunk(2)
        return truth - made


def told_apart(targets: Pixels, composites: Pixels, holes: Pixels, photos: "pd.Series[str]") -> list[float]:
    """Return for each pair whether the critic identifies the photograph: 1 or 0; 0.5 for equal logits.

    Args:
        targets: uint8 (N, H, W, 3).
        composites: like `targets`.
        holes: uint8 (N, H, W), 1 = missing, at least one pixel in each.
        photos: photograph of each pair.

    Returns:
        (N,), all NaN if there is only one photograph.
    """
    half_of = {photo: number % 2 for number, photo in enumerate(sorted(set(photos)))}
    halves = np.array([half_of[photo] for photo in photos])
    found = np.full(len(halves), np.nan)
    if len(half_of) < 2:
        return found.tolist()
    rng = np.random.default_rng(0)
    with torch.random.fork_rng(devices=[]):
        for half in (0, 1):
            known, asked = np.flatnonzero(halves != half), np.flatnonzero(halves == half)
            critic = _train(targets, composites, holes, known, rng)
            with torch.inference_mode():
                for rows in np.array_split(asked, -(-len(asked) // BATCH)):
                    pictures, hole = _batch(targets, composites, holes, rows, np.random.default_rng(0))
                    found[rows] = np.sign(critic.preferences(pictures, hole).numpy()) / 2 + 0.5
    return found.tolist()


def _train(
    targets: Pixels, composites: Pixels, holes: Pixels, rows: npt.NDArray[np.intp], rng: np.random.Generator
) -> Critic:
    """Train a critic to prefer the photograph, by signs of momentum: torch's optimizers take 5 s to import."""
    torch.manual_seed(0)
    critic = Critic()
    weights = list(critic.parameters())
    momenta = [torch.zeros_like(weight) for weight in weights]
    for _ in range(STEPS):
        pictures, hole = _batch(targets, composites, holes, rng.choice(rows, BATCH), rng)
        gradients = torch.autograd.grad(F.softplus(-critic.preferences(pictures, hole)).mean(), weights)
        with torch.no_grad():
            for weight, momentum, gradient in zip(weights, momenta, gradients, strict=True):
                momentum.lerp_(gradient, 1 - MOMENTUM)
                weight.sub_(LEARNING_RATE * momentum.sign())
    return critic


def _batch(
    targets: Pixels, composites: Pixels, holes: Pixels, rows: npt.NDArray[np.intp], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Crop pictures around missing pixels: the photographs, then the composites, and the holes of all."""
    side = min(SIDE, *holes.shape[1:])
    cut: list[tuple[Pixels, Pixels, Pixels]] = []
    for row in rows:
        missing = np.argwhere(holes[row])
        middle = missing[rng.integers(len(missing))]
        top, left = (int(min(max(m - side // 2, 0), n - side)) for m, n in zip(middle, holes.shape[1:], strict=True))
        part = (row, slice(top, top + side), slice(left, left + side))
        cut.append((targets[part], composites[part], holes[part][..., None]))
    truth, made, hole = (np.stack(each) for each in zip(*cut, strict=True))
    pictures, both = (
        torch.from_numpy(np.concatenate(pair)).permute(0, 3, 1, 2).float() for pair in ((truth, made), (hole, hole))
    )
    return pictures / 255, both
