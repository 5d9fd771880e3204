"""Which weights of a training are kept."""

import pytest
from torch import nn

from stages.training import loop
from stages.training.settings import Criterion


@pytest.mark.parametrize(
    ("criterion", "kept"),
    [(("hole_psnr", 0.0), 1), (("perceptual", 0.0), 1), (("perceptual", 0.5), 2), (("perceptual", 9), 3)],
)
def test_weights_are_kept_by_the_criterion(criterion: tuple[str, float], kept: int) -> None:
    score, floor = criterion
    by, best = Criterion(score=score, floor_db=floor), loop.Best()
    for step, (psnr, perceptual) in enumerate([(19.9, 0.5), (20.3, 0.6), (19.9, 0.4), (15.0, 0.1)]):
        best = best.after({loop.PSNR: psnr, loop.PERCEPTUAL: perceptual}, step, nn.Linear(1, 1), by)
    assert best.step == kept


def test_weights_below_a_floor_that_has_risen_give_way() -> None:
    by, best = Criterion(score="perceptual", floor_db=0.5), loop.Best()
    for step, (psnr, perceptual) in enumerate([(18.0, 0.3), (20.0, 0.6)]):
        best = best.after({loop.PSNR: psnr, loop.PERCEPTUAL: perceptual}, step, nn.Linear(1, 1), by)
    assert best.step == 1
