"""The augment stage: what it writes, the same bytes for any number of workers, and how it follows its sources."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from stages.augment import __main__ as augment
from stages.imaging.shards import Tiles, close_folder, entries, write_tiles
from stages.runtime.errors import ParamsError

SIZE = 32


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with params and seven training tiles, in which the stage runs in one process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INPAINT_WORKERS", "1")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    tiles = np.random.default_rng(0).integers(0, 256, (7, SIZE, SIZE, 3), np.uint8)
    write_tiles(tmp_path / "data/prepared/train", iter(tiles))
    write_params(copies=2)
    return tmp_path


def write_params(copies: int, seed: int = 3, **changed) -> None:
    transforms = [{"name": "HorizontalFlip", "p": 0.5}, {"name": "GaussNoise", "std_range": [0.02, 0.1], "p": 0.5}]
    section = {"copies": copies, "transforms": transforms}
    Path("params.yaml").write_text(yaml.safe_dump({"seed": seed, "augment": section | changed}))


def all_tiles(folder: str = "data/augmented/train") -> np.ndarray:
    tiles = Tiles([folder])
    return tiles.gather(np.arange(len(tiles)))


def test_the_manifest_says_how_each_tile_came_about(project):
    augment.main()
    sources, tiles = all_tiles("data/prepared/train"), all_tiles()
    table = pd.read_parquet("data/augmented/manifest.parquet")
    assert list(table.columns) == ["id", "source_row", "copy", "transforms"]
    assert table.source_row.tolist() == [*range(7), *range(7)]
    assert table["copy"].tolist() == [0] * 7 + [1] * 7
    assert table.id.is_unique
    drawn = [[entry["name"] for entry in json.loads(text)] for text in table.transforms]
    for tile, source, names in zip(tiles, sources[table.source_row], drawn, strict=True):
        if "GaussNoise" not in names:
            assert np.array_equal(tile, source[:, ::-1] if names else source)
    assert {tuple(names) for names in drawn} >= {(), ("HorizontalFlip",), ("GaussNoise",)}


def test_more_copies_begin_with_the_fewer_and_another_seed_draws_anew(project):
    augment.main()
    two = all_tiles()
    write_params(copies=3)
    augment.main()
    assert np.array_equal(all_tiles()[:14], two)
    write_params(copies=2, seed=4)
    augment.main()
    assert not np.array_equal(all_tiles(), two)


def test_no_copies_leave_a_folder_that_adds_nothing(project):
    write_params(copies=0)
    augment.main()
    assert len(Tiles(["data/prepared/train", "data/augmented/train"])) == 7
    table = pd.read_parquet("data/augmented/manifest.parquet")
    assert len(table) == 0
    assert table.source_row.dtype == np.int64


def written() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path("data/augmented").rglob("*") if path.is_file()}


def test_a_shard_that_stays_is_altered_as_before_whatever_comes_beside_it(project):
    augment.main()
    alone = all_tiles()
    sources = all_tiles("data/prepared/train")
    more = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    np.save("data/prepared/train/more.npy", more)
    held = entries("data/prepared/train")
    close_folder("data/prepared/train", [{"file": "more.npy", "tiles": 3, "sha256": "0" * 64}, *held])
    augment.main()
    files = sorted(path.name for path in Path("data/augmented/train").glob("*.npy"))
    assert files == ["00000-0.npy", "00000-1.npy", "more-0.npy", "more-1.npy"]
    grown = all_tiles()
    assert np.array_equal(grown[3:10], alone[:7])
    assert np.array_equal(grown[13:], alone[7:])
    table = pd.read_parquet("data/augmented/manifest.parquet")
    assert table.source_row.tolist() == [*range(10), *range(10)]
    order = np.array([2, 0, 1, 6, 5, 4, 3])
    np.save("data/prepared/train/00000.npy", sources[order])
    close_folder("data/prepared/train", [held[0] | {"sha256": "1" * 64}])
    augment.main()
    assert np.array_equal(all_tiles()[:7], alone[:7][order])


def test_the_page_shows_originals_beside_their_copies(project):
    augment.main()
    page = Path("data/augmented/data_report.html").read_text()
    assert "original, copy 1, copy 2, and so on; 7 of 7 tiles" in page
    assert "HorizontalFlip" in page
    write_params(copies=0)
    augment.main()
    assert "<img" not in Path("data/augmented/data_report.html").read_text()


def test_two_workers_write_the_same(project, monkeypatch, capsys):
    augment.main()
    alone = written()
    monkeypatch.setenv("INPAINT_WORKERS", "2")
    augment.main()
    assert "augment: 14 altered tiles in data/augmented, 2 of every training tile" in capsys.readouterr().out
    assert written() == alone


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"copies": -1}, r"`augment\.copies` is -1"),
        ({"copies": 1, "transforms": []}, r"`augment\.transforms` is \[\]"),
        ({"copies": 1, "transform": []}, r"`augment\.transform` is not a known key; did you mean `transforms`"),
        ({"copies": 1, "transforms": [{"name": "Flip"}]}, "has the name 'Flip'"),
    ],
)
def test_mistakes_in_params_are_said(project, changed, message):
    write_params(**changed)
    with pytest.raises(ParamsError, match=message):
        augment.main()
    assert not Path("data/augmented").exists()
