"""A fresh critic tells bad fills from the truth, and cannot tell what is no different."""

import numpy as np
import pandas as pd
import pytest
import skimage.data

from stages.evaluate import critic
from stages.evaluate.critic import told_apart
from stages.imaging.drawing.everyday import draw_everyday

SIDE = 40


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(critic, "STEPS", 40)


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray, pd.Series]:
    """Tiles of four photographs, and holes."""
    wholes = [skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee(), skimage.data.rocket()]
    rng = np.random.default_rng(0)
    tiles, holes, photos = [], [], []
    for number in range(48):
        whole = wholes[number % 4]
        y, x = (int(rng.integers(0, side - SIDE)) for side in whole.shape[:2])
        tiles.append(whole[y : y + SIDE, x : x + SIDE])
        holes.append(draw_everyday("object", (SIDE, SIDE), rng))
        photos.append(f"photo {number % 4}")
    return np.stack(tiles), np.stack(holes), pd.Series(photos)


def test_a_grey_fill_is_always_told(pairs) -> None:
    targets, holes, photos = pairs
    assert np.mean(told_apart(targets, np.where(holes[..., None], np.uint8(128), targets), holes, photos)) > 0.9


def test_the_same_pairs_are_told_alike_again(pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(critic, "STEPS", 3)
    targets, holes, photos = pairs
    told, again = (told_apart(targets, targets[:, ::-1].copy(), holes, photos) for _ in range(2))
    assert told == again
    assert len(set(told)) > 1


def test_the_truth_cannot_be_told_from_itself(pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(critic, "STEPS", 3)
    targets, holes, photos = pairs
    assert set(told_apart(targets, targets, holes, photos)) == {0.5}


def test_nor_can_its_own_mirror_image_in_the_hole(pairs) -> None:
    targets, _, photos = pairs
    everywhere = np.ones(targets.shape[:3], np.uint8)
    assert 0.2 < np.mean(told_apart(targets, targets[:, :, ::-1].copy(), everywhere, photos)) < 0.8


def test_it_is_asked_about_photographs_that_it_has_not_learned_from(pairs) -> None:
    """In one half of the photographs the brighter version is the truth, in the other the darker one."""
    targets, holes, photos = pairs
    brightened = np.where(holes[..., None], targets // 2 + 128, targets // 2)
    odd = photos.isin(["photo 1", "photo 3"]).to_numpy()[:, None, None, None]
    truth, other = np.where(odd, brightened, targets // 2), np.where(odd, targets // 2, brightened)
    assert np.mean(told_apart(truth, other, holes, photos)) < 0.1


def test_one_photograph_is_not_enough(pairs) -> None:
    targets, holes, photos = pairs
    assert np.isnan(told_apart(targets, targets, holes, photos.map(lambda _: "one"))).all()
