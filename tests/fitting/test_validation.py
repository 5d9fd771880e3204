"""Validation scores are means over pictures, whatever the batches."""

import math

import pytest
import torch

from stages.fitting.dataset import Batch
from stages.pconv.module import PConvModule, PConvSettings
from tests.project import UNET


@pytest.fixture(scope="module")
def pictures() -> Batch:
    generator = torch.Generator().manual_seed(0)
    hole = torch.zeros(3, 1, 16, 24, dtype=torch.uint8)
    for number in range(3):
        hole[number, :, 2 : 4 + 4 * number, 3:20] = 1
    target = torch.randint(0, 256, (3, 3, 16, 24), generator=generator, dtype=torch.uint8)
    target[0] //= 8  # one that is easier than the others, so that a mean of means would differ
    return {"target": target, "hole": hole, "step": 0}


def score(pictures: Batch, batch_size: int) -> dict[str, float]:
    torch.manual_seed(0)
    module = PConvModule(PConvSettings(**UNET))
    module.on_validation_epoch_start()
    with torch.no_grad():
        for number, start in enumerate(range(0, 3, batch_size)):
            rows = slice(start, start + batch_size)
            module.validation_step(
                {"target": pictures["target"][rows], "hole": pictures["hole"][rows], "step": 0}, number
            )
    module.on_validation_epoch_end()
    return module.scores


@pytest.mark.parametrize("batch_size", [1, 2])
def test_batches_change_nothing(pictures: Batch, batch_size: int) -> None:
    assert score(pictures, batch_size) == pytest.approx(score(pictures, 3), abs=1e-4)


def test_only_missing_pixels_count(pictures: Batch) -> None:
    perfect = {**pictures, "hole": torch.zeros_like(pictures["hole"])}
    assert score(perfect, 3)["val_hole_l1_percent"] == 0  # type: ignore[arg-type]
    assert math.isfinite(score(pictures, 3)["val_hole_psnr"])
