import hashlib
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from stages.imaging.holes import MaskSet
from stages.imaging.shards import Tiles
from stages.pair import CELLS, choose_gallery, main, pair_up
from stages.runtime.errors import InputError
from tests.factories import PHOTOS, make_mask_set, make_pairs, make_tiles


@pytest.fixture
def tiles_of(tmp_path) -> dict[str, int]:
    return make_tiles(tmp_path).groupby("photo", sort=False).size().to_dict()


@pytest.fixture
def holes(tmp_path) -> pd.DataFrame:
    return make_mask_set(tmp_path)


def test_every_cell_gets_its_pairs_from_small_holes_to_large(tiles_of, holes):
    pairs = pair_up(tiles_of, holes, 4, seed=7)
    cells = list(zip(pairs["bucket"], pairs["border"], strict=True))
    assert cells == [cell for cell in CELLS for _ in range(4)]
    assert (pairs["ratio"].to_numpy() == holes["ratio"].to_numpy()[pairs["hole_row"]]).all()


def test_the_holes_of_a_cell_come_in_order_and_again_when_there_are_too_few(tiles_of, holes):
    pairs = pair_up(tiles_of, holes, 5, seed=7)
    assert pairs["hole_row"].to_list()[:10] == [0, 1, 0, 1, 0, 2, 3, 2, 3, 2]


def test_photos_are_visited_evenly_and_show_all_their_tiles_before_one_comes_twice(tiles_of, holes):
    pairs = pair_up(tiles_of, holes, 3, seed=7)
    visits = Counter(pairs["photo"])
    assert len(visits) == PHOTOS
    assert max(visits.values()) - min(visits.values()) <= 1
    for photo, number in tiles_of.items():
        shown = Counter(pairs.loc[pairs["photo"] == photo, "tile_row"])
        assert len(shown) == min(number, visits[photo])
        assert max(shown.values()) - min(shown.values()) <= 1


def test_the_seed_decides_and_nothing_else(tiles_of, holes):
    assert pair_up(tiles_of, holes, 3, seed=7).equals(pair_up(tiles_of, holes, 3, seed=7))
    assert not pair_up(tiles_of, holes, 3, seed=8).equals(pair_up(tiles_of, holes, 3, seed=7))


def test_photos_come_in_the_same_order_wherever_their_tiles_lie(tiles_of, holes):
    assert pair_up(dict(reversed(tiles_of.items())), holes, 3, seed=7)["photo"].equals(
        pair_up(tiles_of, holes, 3, seed=7)["photo"]
    )


def test_more_pairs_than_tiles_and_one_photo_are_enough(holes):
    pairs = pair_up({"photo": 1}, holes, 3, seed=7)
    assert set(pairs["tile_row"]) == {0}
    assert len(pairs) == 36


def test_no_tiles_is_an_error_that_says_what_to_do(holes):
    with pytest.raises(InputError, match=r"no test tiles.*add photographs"):
        pair_up({}, holes, 3, seed=7)


def test_an_empty_cell_is_named(tiles_of, holes):
    lacking = holes[(holes["bucket"] != 3) | holes["border"]].reset_index(drop=True)
    with pytest.raises(InputError, match=r"no hole of bucket 3 without border"):
        pair_up(tiles_of, lacking, 3, seed=7)


def test_the_gallery_takes_one_pair_a_cell_and_other_photos_first(tiles_of, holes):
    pairs = pair_up(tiles_of, holes, 8, seed=7)
    chosen = choose_gallery(pairs, 12)
    cells = list(zip(pairs["bucket"].iloc[chosen], pairs["border"].iloc[chosen], strict=True))
    assert cells == CELLS
    assert len(set(pairs["photo"].iloc[chosen[:PHOTOS]])) == PHOTOS


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (7, 7), (30, 30), (500, 36)])
def test_the_gallery_is_as_large_as_asked_as_far_as_there_are_pairs(tiles_of, holes, count, expected):
    chosen = choose_gallery(pair_up(tiles_of, holes, 3, seed=7), count)
    assert len(set(chosen)) == expected
    assert chosen == sorted(chosen)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    make_pairs(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_pairs_are_written_with_ids_that_can_be_cited_and_hashes_of_their_pixels(project):
    pairs = pd.read_csv("data/pairs.csv")
    assert pairs["pair"].is_unique
    assert pairs["pair"].to_list()[:4] == ["10n0000", "10n0001", "10n0002", "10b0000"]
    assert pairs["pair"].iloc[-1] == "60b0002"
    assert pairs["shown"].sum() == 12
    pair = pairs.iloc[[20]]
    target = Tiles(["data/prepared/test"]).gather(pair["tile_row"].to_numpy())[0]
    hole = MaskSet("data/masks/test.npy").gather(pair["hole_row"].to_numpy())[0]
    assert hashlib.sha256(target.tobytes() + hole.tobytes()).hexdigest().startswith(pair["sha256"].item())


def test_a_pairs_tile_is_the_one_at_its_place(project):
    pairs, manifest = pd.read_csv("data/pairs.csv"), pd.read_parquet("data/prepared/manifest.parquet")
    tiles = manifest[manifest["split"] == "test"]
    for column, of_manifest in (("tile", "id"), ("photo", "photo")):
        assert pairs[column].to_list() == tiles[of_manifest].iloc[pairs["tile_row"]].to_list()


def test_the_same_inputs_give_the_same_file(project):
    before = Path("data/pairs.csv").read_bytes()
    main()
    assert Path("data/pairs.csv").read_bytes() == before


def test_holes_of_another_size_are_refused(project):
    make_mask_set(project / "data/masks", side=24)
    with pytest.raises(InputError, match="tiles are 16 pixels wide, test holes 24"):
        main()


def test_a_manifest_of_other_tiles_is_refused(project):
    pd.read_parquet("data/prepared/manifest.parquet").iloc[:-2].to_parquet("data/prepared/manifest.parquet")
    with pytest.raises(InputError, match="15 test tiles, .* 13"):
        main()
