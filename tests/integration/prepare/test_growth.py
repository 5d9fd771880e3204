"""Photos that come or go leave what is there as it is, in the shards, in DVC's cache, and in what is decoded."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.imaging.images import save_png
from stages.prepare import photos
from stages.prepare.__main__ import main
from stages.runtime.errors import InputError
from tests.clone import Clone
from tests.factories import contents, photo, shards, write_params, write_photos


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Params and two folders of photographs; shards end after a few photos."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INPAINT_WORKERS", "1")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr("stages.prepare.__main__.SHARD_BYTES", 8 * 9 * 16 * 16 * 3)  # of eight photos
    write_params()
    write_photos("photos/a", range(30))
    write_photos("photos/b", range(30, 50))
    return tmp_path


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of the files that are decoded from here on."""
    names: list[str] = []
    taken = photos._take
    monkeypatch.setattr(photos, "_take", lambda source, *rest: names.append(source.name) or taken(source, *rest))
    return names


def splits() -> dict[str, str]:
    table = pd.read_parquet("data/prepared/manifest.parquet").drop_duplicates("photo")
    return dict(zip(table["photo"], table["split"], strict=True))


def test_a_new_folder_leaves_every_shard_and_split_as_it_was(project):
    main()
    old, old_splits = shards(), splits()
    assert len(old) > 6
    write_photos("photos/0 before all others", range(50, 70))
    main()
    assert old.items() <= shards().items()
    assert old_splits.items() <= splits().items()
    assert len(splits()) == len(old_splits) + 20


@pytest.mark.parametrize("kept", [0, 1000])
def test_a_shard_that_was_damaged_where_it_lies_is_made_again(project, decoded, kept):
    main()
    good, damaged = contents(), next(Path("data/prepared/train").glob("*.npy"))
    with damaged.open("r+b") as file:  # which the cache has under another name
        file.truncate(kept)
    decoded.clear()
    main()
    assert contents() == good
    assert 0 < len(decoded) < 20  # its photos alone


def test_a_folder_that_goes_takes_its_shards_and_no_others(project):
    main()
    both = shards()
    shutil.rmtree("photos/b")
    main()
    only_a = shards()
    assert only_a.items() <= both.items()
    write_photos("photos/b", range(30, 50))
    main()
    assert shards() == both


def test_a_photo_that_comes_or_goes_within_a_folder_changes_few_shards(project):
    main()
    old = shards()
    save_png("photos/a/new.png", photo(90))
    main()
    grown = shards()
    assert len(old.items() - grown.items()) <= 1
    Path("photos/a/new.png").unlink()
    Path("photos/a/004.png").unlink()
    main()
    assert len(old.items() - shards().items()) <= 2


def test_a_test_photo_that_looks_like_a_training_photo_takes_its_place(project):
    main()
    old, old_splits = shards(), splits()
    table = pd.read_parquet("data/prepared/manifest.parquet").drop_duplicates("photo")
    train = table[table["split"] == "train"].iloc[0]
    for quality in range(60, 95):  # until one falls into the test split
        Path("photos/c").mkdir(exist_ok=True)
        Image.open(f"photos/{train.source}").save("photos/c/like.jpg", quality=quality)
        main()
        new = pd.read_parquet("data/prepared/manifest.parquet").drop_duplicates("photo")
        if (new.loc[new["source"] == "c/like.jpg", "split"] == "test").any():
            break
    assert set(old_splits) - set(splits()) == {train.photo}
    assert {key: split for key, split in splits().items() if key in old_splits}.items() <= old_splits.items()
    assert {name for name in old if name not in shards()} == {f"train/{train.shard}"}
    assert all(shards()[name] == content for name, content in old.items() if name in shards())
    left_out = pd.read_csv("data/prepared/rejects.csv").set_index("path")
    assert left_out.loc[train.source, "detail"] == "looks like c/like.jpg, which is in test, and would be in train"


def test_the_same_photos_make_the_same_bytes_however_they_came(project):
    main()
    write_photos("photos/c", range(50, 60))
    main()
    grown = contents()
    shutil.rmtree(".remembered")
    main()
    assert contents() == grown


def test_only_what_is_new_is_decoded(project, decoded):
    main()
    assert len(decoded) == 50
    decoded.clear()
    main()
    assert decoded == []
    write_photos("photos/c", range(50, 55))
    main()
    assert decoded == [f"c/{number:03d}.png" for number in range(50, 55)]
    decoded.clear()
    save_png("photos/a/new.png", photo(90))
    main()
    assert decoded[0] == "a/new.png"
    assert len(decoded) <= 1 + 8  # and those that share its shard
    decoded.clear()
    write_params(seed=8)
    main()
    assert len(decoded) == 56


def known() -> list[str]:
    """The hashes of the cache's records."""
    (records,) = Path(".remembered/prepare").glob("*/records.arrow")
    return list(pd.read_feather(records)["sha256"])


def test_a_file_that_is_decoded_again_has_one_record(project, decoded):
    main()
    save_png("photos/a/new.png", photo(90))
    decoded.clear()
    main()
    assert len(decoded) > 1
    assert len(known()) == len(set(known())) == 51


def test_records_whose_tiles_were_being_deleted_are_no_obstacle(project, monkeypatch):
    unlink = Path.unlink

    def stop(path: Path, **how: bool) -> None:
        if path.suffix == ".arrow":
            raise KeyboardInterrupt
        unlink(path, **how)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", stop)
        patch.setattr(Path, "iterdir", lambda folder: iter(sorted(folder.glob("*"), reverse=True)))
        main()
    (left,) = Path(".remembered/prepare").glob("*/chunks")
    assert len(list(left.glob("*.arrow"))) > len(list(left.glob("*.npy")))
    save_png("photos/a/new.png", photo(90))
    main()
    assert len(known()) == len(set(known())) == 51
    found = contents()
    shutil.rmtree(".remembered")
    main()
    assert contents() == found


def test_the_parts_of_tables_do_not_show(project, monkeypatch):
    write_photos("photos/c", range(5))  # copies
    Path("photos/b/no photo.jpg").write_text("no photo")
    main()
    whole = contents()
    for at_once in (1, 3):
        shutil.rmtree(".remembered")
        monkeypatch.setattr("stages.runtime.tables.ROWS_AT_ONCE", at_once)
        monkeypatch.setattr("stages.imaging.source_table.ROWS_AT_ONCE", at_once)
        for _ in range(2):  # of which the second knows all
            main()
            assert contents() == whole


def test_without_hard_links_the_bytes_are_the_same(project, decoded, monkeypatch):
    main()
    linked = contents()
    shutil.rmtree(".remembered")

    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    main()
    main()
    assert contents() == linked
    assert len(decoded) == 150  # all three times


def test_a_photo_that_changes_while_it_is_prepared_again_stops_the_run(project, monkeypatch):
    main()
    save_png("photos/a/new.png", photo(90))
    hashed = photos.hash_files
    shard_mates: list[Path] = []

    def then_change(sources):
        found = hashed(sources)
        for path in Path("photos/a").glob("0*.png"):
            save_png(path, 255 - np.asarray(Image.open(path)))
            shard_mates.append(path)
        return found

    monkeypatch.setattr("stages.prepare.photo_cache.hash_files", then_change)
    with pytest.raises(InputError, match=r"photos/a/\d+.png changed"):
        main()
    assert shard_mates


@pytest.mark.slow
def test_dvc_stores_only_what_is_new(tmp_path, monkeypatch):
    clone = Clone(tmp_path, {"tile_size": 32, "prepare": {"photos": "photos", "short_sides": [40]}})
    monkeypatch.chdir(tmp_path)
    write_photos("photos/2025", range(60))
    clone.run("dvc", "repro", "prepare")

    def stored() -> int:
        return sum(path.stat().st_size for path in Path(".dvc/cache").rglob("*") if path.is_file())

    first, tiles = stored(), sum(len(content) for content in shards().values())
    assert first >= tiles
    write_photos("photos/2026", range(60, 66))
    clone.run("dvc", "repro", "prepare")
    grown = sum(len(content) for content in shards().values()) - tiles
    tables = sum(path.stat().st_size for path in Path("data/prepared").glob("*.*"))
    assert 0 < grown < tiles / 5
    assert stored() - first < grown + tables + 40_000  # records and lists of files
