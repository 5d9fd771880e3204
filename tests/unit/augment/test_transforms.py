"""What each transform does to a known picture, what it says that it drew, and mistakes in its arguments."""

import json
from importlib import metadata

import numpy as np
import pandas as pd
import pytest
import yaml

from stages.augment.transforms import TRANSFORMS, alter, build
from stages.runtime.errors import ParamsError
from tests.clone import ROOT

SIZE = 32


def picture() -> np.ndarray:
    """Red grows to the right, green downwards, blue to both and by a step in the middle; uint8 (32, 32, 3)."""
    y, x = np.mgrid[:SIZE, :SIZE]
    return np.stack([7 * x + 20, 6 * y + 30, 80 + 2 * (x + y) + 40 * (x > 15)], axis=-1).astype(np.uint8)


# For each: its arguments, the numbers that it draws from seed 5, and what it makes of the pixels (3, 5) and (20, 16).
GOLDEN = {
    "RandomResizedCrop": ({"scale": [0.6, 1.0], "ratio": [0.9, 1.1]}, [1, 3, 32, 32], [[61, 64, 103], [135, 156, 195]]),
    "HorizontalFlip": ({}, [], [[202, 48, 178], [125, 150, 150]]),
    "VerticalFlip": ({}, [], [[55, 198, 146], [132, 96, 174]]),
    "Affine": (
        {"rotate": [-15, 15], "shear": [-5, 5]},
        [-10.2945, 1, 1, 0.973274, -0.237222, 4.09118, 0.131282, 0.992516, -1.91887, 0, 0, 1],  # angle, scale, matrix
        [[35, 58, 94], [139, 149, 194]],
    ),
    "RandomBrightnessContrast": (
        {"brightness_limit": 0.2, "contrast_limit": 0.2},
        [1.09671, 30.1097],
        [[90, 82, 135], [174, 194, 240]],
    ),
    "HueSaturationValue": (
        {"hue_shift_limit": 10, "sat_shift_limit": 20, "val_shift_limit": 10},
        [4.83574, 11.8077, 8.84901],
        [[62, 47, 104], [128, 140, 200]],
    ),
    "GaussNoise": ({"std_range": [0.01, 0.04]}, [0.00846041, 8.16397], [[45, 52, 96], [134, 151, 180]]),
    "GaussianBlur": ({"blur_limit": [3, 3]}, [0.323166, 0.353669, 0.323166], [[55, 48, 96], [132, 150, 179]]),
    "ImageCompression": ({"quality_range": [60, 95]}, [82], [[56, 47, 97], [133, 154, 186]]),
}


def flat(value) -> list[float]:
    """Return the numbers in what JSON can hold, in order."""
    if isinstance(value, dict | list):
        return [number for entry in (value.values() if isinstance(value, dict) else value) for number in flat(entry)]
    return [] if isinstance(value, str) else [value]


def altered(arguments: dict, seed: int = 5, tile: np.ndarray | None = None) -> tuple[np.ndarray, list[dict]]:
    tile = picture() if tile is None else tile
    pixels, drawn = alter(build([{"p": 1.0} | arguments], len(tile)), tile, seed)
    return pixels, json.loads(drawn)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_transform_does_what_it_did(name):
    arguments, numbers, pixels = GOLDEN[name]
    result, drawn = altered({"name": name, **arguments})
    assert [entry["name"] for entry in drawn] == [name]
    assert flat(drawn) == pytest.approx(numbers, rel=1e-3)
    # Builds of OpenCV for other processors round otherwise.
    assert np.abs(result[[3, 20], [5, 16]] - np.array(pixels)).max() <= 2


def test_every_transform_of_the_project_has_its_golden_numbers():
    used = yaml.safe_load((ROOT / "params.yaml").read_text())["augment"]["transforms"]
    assert {transform["name"] for transform in used} <= set(GOLDEN)
    assert build(used, SIZE)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_each_allowed_transform_keeps_size_and_repeats_itself(name):
    noisy = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    before = noisy.copy()
    first, second = altered({"name": name}, tile=noisy), altered({"name": name}, tile=noisy)
    assert (first[0].shape, first[0].dtype) == ((48, 48, 3), np.uint8)
    assert np.array_equal(first[0], second[0])
    assert first[1] == second[1]
    assert first[1][0]["name"] == name
    assert np.array_equal(noisy, before)


@pytest.mark.parametrize(
    "name", ["Affine", "Rotate", "SafeRotate", "Perspective", "ElasticTransform", "GridDistortion"]
)
def test_no_black_corners(name):
    white = np.full((SIZE, SIZE, 3), 255, np.uint8)
    more = {"rotate": [30, 30]} if name == "Affine" else {}
    assert altered({"name": name, **more}, tile=white)[0].min() == 255
    assert altered({"name": "Affine", "rotate": [30, 30], "border_mode": 0}, tile=white)[0].min() == 0


def test_transforms_are_drawn_independently():
    names = ["HorizontalFlip", "VerticalFlip", "Transpose"]
    compose = build([{"name": name, "p": 0.5} for name in names], SIZE)
    applied = [alter(compose, picture(), seed)[1] for seed in range(400)]
    counts = pd.Series(applied).value_counts()
    assert len(counts) == 8  # any of them, none, all
    assert counts.between(25, 80).all()


def test_only_what_was_applied_is_said():
    compose = build([{"name": "HorizontalFlip", "p": 0.5}, {"name": "VerticalFlip", "p": 0.0}], SIZE)
    flipped = 0
    for seed in range(20):
        result, drawn = alter(compose, picture(), seed)
        flipped += bool(json.loads(drawn))
        assert json.loads(drawn) == ([] if np.array_equal(result, picture()) else [{"name": "HorizontalFlip"}])
    assert 3 < flipped < 17


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ({"name": "Sparkle"}, r"transforms\.0` has the name 'Sparkle', but should have one of Affine, Blur"),
        ({"p": 0.5}, r"transforms\.0` has the name None, but should have one of"),
        ({"name": "CenterCrop", "height": 8, "width": 8}, "has the name 'CenterCrop', but should"),
        ({"name": "Affine", "rotat": 5}, r"Affine, has no argument rotat; it has scale, translate_percent"),
        ({"name": "RandomResizedCrop", "size": [9, 9]}, "RandomResizedCrop, has no argument size; it has scale"),
        ({"name": "HorizontalFlip", "p": 2.0}, "HorizontalFlip, does not accept"),
        ({"name": "ImageCompression", "quality_range": [60, 300]}, "ImageCompression, does not accept .*quality_range"),
        ({"name": "GaussNoise", "std_range": "much"}, "GaussNoise, does not accept .*std_range"),
        ({"name": "Rotate", "limit": [30, 30], "crop_border": True}, "Rotate, changes the size of tiles from 32"),
    ],
)
def test_mistakes_in_transforms_are_said(transform, message):
    with pytest.raises(ParamsError, match=message):
        build([transform], SIZE)


def test_the_library_is_albumentations_and_not_its_fork():
    assert metadata.version("albumentations") == "2.0.8"  # the last under the MIT licence
    assert set(metadata.packages_distributions()["albumentations"]) == {"albumentations"}
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("albumentationsx")
