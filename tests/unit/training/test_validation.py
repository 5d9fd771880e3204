"""Validation scores are means over pictures, whatever the batches."""

import math

import pytest
import torch

from stages.pconv.module import PConvModule, PConvSettings
from stages.training import loop
from stages.training.dataset import Batch, ValidationBatches
from tests.factories import UNET


@pytest.fixture(scope="module")
def pictures() -> Batch:
    generator = torch.Generator().manual_seed(0)
    hole = torch.zeros(3, 1, 16, 24, dtype=torch.uint8)
    for number in range(3):
        hole[number, :, 2 : 4 + 4 * number, 3:20] = 1
    target = torch.randint(0, 256, (3, 3, 16, 24), generator=generator, dtype=torch.uint8)
    target[0] //= 8  # one that is easier than the others, so that a mean of means would differ
    return {"target": target, "hole": hole, "step": 0}


class Batches(ValidationBatches):
    """The pictures in batches of one size."""

    def __init__(self, pictures: Batch, batch_size: int) -> None:
        self._pictures, self._size = pictures, batch_size

    def __len__(self) -> int:
        return math.ceil(len(self._pictures["hole"]) / self._size)

    def __getitem__(self, number: int) -> Batch:
        rows = slice(number * self._size, (number + 1) * self._size)
        return {"target": self._pictures["target"][rows], "hole": self._pictures["hole"][rows], "step": number}


def score(pictures: Batch, batch_size: int) -> dict[str, float]:
    torch.manual_seed(0)
    module = PConvModule(PConvSettings(**UNET))
    module.setup(fabric := loop.make_fabric())
    scores, shown = loop.validate(module, fabric, Batches(pictures, batch_size))
    assert shown.shape[2] == 3
    return scores


@pytest.mark.parametrize("batch_size", [1, 2])
def test_batches_change_nothing(pictures: Batch, batch_size: int) -> None:
    one, all_at_once = score(pictures, batch_size), score(pictures, 3)
    for name in ("val_hole_psnr", "val_hole_l1_percent"):
        assert one[name] == pytest.approx(all_at_once[name], abs=1e-4)


def test_only_missing_pixels_count(pictures: Batch) -> None:
    perfect = {**pictures, "hole": torch.zeros_like(pictures["hole"])}
    assert score(perfect, 3)["val_hole_l1_percent"] == 0  # type: ignore[arg-type]
    assert math.isfinite(score(pictures, 3)["val_hole_psnr"])
