"""Files and settings made to do harm: refused in words, before anything happens."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import stages.augment.__main__ as augment
import stages.masks.__main__ as masks
import stages.prepare.__main__ as prepare
from stages import pair, photographs, train
from stages.imaging.shards import Tiles, write_tiles
from stages.runtime.errors import InputError, ParamsError
from stages.runtime.files import inside
from stages.serving.batch import restored
from tests.clone import ROOT


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "/etc/passwd", ".."])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="leads out of"):
        inside(tmp_path / "folder", name)


@pytest.mark.parametrize("name", ["a.png", "sub/a.png", "sub/../a.png", "..a.png"])
def test_names_of_the_folder_are_well(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name).parent in (tmp_path, tmp_path / "sub")


def test_a_record_of_shards_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    write_tiles(tmp_path / "there", [np.zeros((4, 4, 3), np.uint8)])
    write_tiles(tmp_path / "here", [np.zeros((4, 4, 3), np.uint8)])
    record = json.loads((tmp_path / "here/shards.json").read_text())
    record["shards"][0]["file"] = "../there/00000.npy"
    (tmp_path / "here/shards.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="leads out of"):
        Tiles([tmp_path / "here"])


def test_the_challenges_list_cannot_name_pictures_elsewhere(tmp_path: Path) -> None:
    Image.new("RGB", (256, 256)).save(tmp_path / "secret.png")
    (tmp_path / "pictures").mkdir()
    corners = {"../secret.png": ((0, 0), (100, 100))}
    with pytest.raises(InputError, match="leads out of"):
        next(restored(tmp_path / "pictures", corners, None))  # type: ignore[arg-type]  # nothing is filled


ABSURD = {
    "tile_size": (prepare.main, 10**9),
    "prepare.max_tiles_per_photo": (prepare.main, 10**15),
    "prepare.max_megapixels": (prepare.main, 10**9),
    "masks.train": (masks.main, 10**15),
    "masks.test_per_cell": (masks.main, 10**15),
    "augment.copies": (augment.main, 10**9),
    "pairs.per_cell": (pair.main, 10**15),
    "photographs.max_side": (photographs.main, 10**9),
    "photographs.count": (photographs.main, 10**15),
    "train.pconv.width": (lambda: train.main("pconv"), 10**6),
    "train.pconv.levels": (lambda: train.main("pconv"), 60),
    "train.pconv.batch_size": (lambda: train.main("pconv"), 10**9),
    "train.pconv.steps": (lambda: train.main("pconv"), 10**30),
    "train.pconv.learning_rate": (lambda: train.main("pconv"), float("nan")),
}


@pytest.mark.parametrize("key", ABSURD)
def test_absurd_settings_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    main, value = ABSURD[key]
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    *sections, last = key.split(".")
    section = params
    for each in sections:
        section = section[each]
    section[last] = value
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    Path("params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(ParamsError, match=f"`{key}` is {value}"):
        main()
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
