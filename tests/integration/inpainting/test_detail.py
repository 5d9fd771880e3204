"""Copied texture in threads, by copies of the package as MLflow loads them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import patchmatch

from stages.inpainting.cropping import Settings, inpaint
from stages.publish.__main__ import CROPPING
from stages.tracking import store
from tests.unit.inpainting.test_cropping import holes
from tests.unit.inpainting.test_detail import FILLER, grass, smooth

with store.reached():  # MLflow warns at its own import
    from stages.serving.logged_model import _package


def test_the_same_picture_gets_the_same_texture_whoever_else_fills() -> None:
    """In other threads, by other copies of the package, as MLflow loads them, with other seeds before."""
    picture, missing = grass(200, 200), holes((60, 60, 140, 140), h=200, w=200)
    copies = [_package(str(CROPPING)), _package(f"{CROPPING}/.")]

    def fill(number: int) -> np.ndarray:
        here = copies[number % 2]
        others = inpaint(grass(120, 120), holes((40, 40, 80, 80), h=120, w=120), FILLER, Settings())
        assert others[1]["detail"]
        return here.inpaint(picture, missing, here.Filler(smooth, side=256, reach=20), here.Settings())[0]

    wanted = fill(0)
    patchmatch.set_random_seed(7)
    with ThreadPoolExecutor(2) as pool:
        for answer in pool.map(fill, range(4)):
            assert np.array_equal(answer, wanted)
