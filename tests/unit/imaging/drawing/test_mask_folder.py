"""Holes out of a folder: either polarity, any size, whatever else lies there."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.imaging.drawing.annotations import read_annotations
from stages.imaging.drawing.mask_folder import load_given
from stages.imaging.drawing.mask_spec import MaskSpec
from stages.imaging.holes import hole_ratio, touches_border
from stages.runtime.errors import InputError


@pytest.fixture
def folder(tmp_path):
    """Two hole pictures, white = missing: a corner of 1/8, in a folder of its own, and a centre of 1/4."""
    corner = np.zeros((40, 80), np.uint8)
    corner[:20, :20] = 255
    centre = np.zeros((96, 64), np.uint8)
    centre[24:72, 16:48] = 200
    (tmp_path / "more").mkdir()
    Image.fromarray(corner).save(tmp_path / "more" / "corner.png")
    Image.fromarray(centre).save(tmp_path / "centre.bmp")
    (tmp_path / "README.md").write_text("not a picture")
    return tmp_path


def test_pictures_are_scaled_by_nearest_neighbour(folder):
    given, refused = load_given(folder, "white", 32)
    assert refused == []
    assert given.packed.shape == (2, 32, 4)
    assert given.ratios.tolist() == [1 / 4, 1 / 8]  # by name: centre.bmp, more/corner.png
    assert given.borders.tolist() == [False, True]
    corner = np.unpackbits(given.packed[1], axis=1)
    assert corner[:16, :8].all()
    assert corner.sum() == 128


def test_black_may_mean_missing(folder):
    given, _ = load_given(folder, "black", 32)
    assert given.ratios.tolist() == [3 / 4, 7 / 8]


def test_only_what_fits_is_drawn_turned_and_flipped(folder):
    given, _ = load_given(folder, "white", 32)
    wanted = MaskSpec(0.1, 0.2, 0.15, border=True)
    assert given.rows_for(wanted).tolist() == [1]
    rng = np.random.default_rng(0)
    holes = [given.draw(wanted, crop=False, rng=rng) for _ in range(40)]
    assert {hole_ratio(hole) for hole in holes} == {1 / 8}
    assert len({hole.tobytes() for hole in holes}) == 8  # four corners, lying or standing


def test_with_crop_some_are_enlarged_parts_that_still_fit(folder):
    given, _ = load_given(folder, "white", 32)
    wanted = MaskSpec(0.2, 0.5, 0.3, border=False)
    rng = np.random.default_rng(0)
    holes = [given.draw(wanted, crop=True, rng=rng) for _ in range(40)]
    assert len({hole_ratio(hole) for hole in holes}) > 3
    assert all(wanted.allows(hole) and not touches_border(hole) for hole in holes)
    assert {value for hole in holes for value in np.unique(hole)} == {0, 1}


def test_a_damaged_picture_is_named_and_passed_over(folder):
    (folder / "broken.png").write_bytes((folder / "more" / "corner.png").read_bytes()[:60])
    given, refused = load_given(folder, "white", 32)
    assert len(given.ratios) == 2
    assert "broken.png" in str(refused[0])


RUNS = [405, *[15, 25] * 19, 15, 1220]  # rows 5 to 19 of columns 10 to 29
SAME = "e<?i00000000000000000000000000000000000000[U1"  # as pycocotools writes it


def write_annotations(path: Path, *segmentations: object) -> None:
    objects = [{"image_id": 7, "segmentation": each} for each in segmentations]
    path.write_text(json.dumps({"images": [{"id": 7, "height": 40, "width": 60}], "annotations": objects}))


def test_every_object_of_a_coco_file_is_a_hole(tmp_path):
    polygons = [[10, 5, 29, 5, 29, 19, 10, 19], [3, 3, 4, 4]]
    write_annotations(tmp_path / "a.json", polygons, {"counts": RUNS}, {"counts": SAME}, [], None)
    for hole in read_annotations(tmp_path / "a.json"):
        assert hole.shape == (40, 60)
        assert hole[5:20, 10:30].all()
        assert hole.sum() == 300
    given, refused = load_given(tmp_path / "a.json", "white", 32)
    assert (len(given.packed), refused) == (3, [])
    assert given.ratios == pytest.approx([1 / 8] * 3, abs=0.02)


@pytest.mark.parametrize("counts", [[5, 3], [2400, -5, 5], [10**9, 5], "0", "zzz", "\u00e9", []])
def test_a_coco_file_that_contradicts_itself_is_passed_over(counts, folder):
    write_annotations(folder / "a.json", {"counts": counts})
    write_annotations(folder / "boxes.json", [])
    (folder / "tasks.json").write_text("[]")
    given, refused = load_given(folder, "white", 32)
    assert len(given.ratios) == 2
    assert "a.json" in str(refused[0])
    assert "boxes.json: a COCO file without polygons or masks; export those" in str(refused[1])
    assert "tasks.json: no COCO file; of Label Studio, export COCO or brush labels to PNG" in str(refused[2])


def test_an_empty_folder_is_said(tmp_path):
    with pytest.raises(InputError, match="there are none"):
        load_given(tmp_path, "white", 32)


def test_a_folder_of_damaged_pictures_is_said(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"none of its 1 can be used: .*a\.png"):
        load_given(tmp_path, "white", 32)
