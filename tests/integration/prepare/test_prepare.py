"""The whole stage on made-up photographs: what it writes, that it writes the same again, and how it refuses."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image

from stages.imaging.images import load_image, save_png
from stages.imaging.near import perceptual_hash
from stages.imaging.shards import Tiles
from stages.imaging.splits import SPLITS, split_of
from stages.prepare.__main__ import main
from stages.runtime.errors import InputError
from tests.clone import ROOT
from tests.factories import contents, photo, write_params


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A working directory with params and twelve photographs, of which each split has some."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INPAINT_WORKERS", "1")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    write_params()
    for number in range(12):
        save_png(f"photos/{number:02d}.png", photo(number))
    return tmp_path


def manifest() -> pd.DataFrame:
    return pd.read_parquet("data/prepared/manifest.parquet")


def summary() -> dict[str, Any]:
    return json.loads(Path("data/prepared/summary.json").read_text())


def test_the_manifest_says_where_each_tile_lies_and_where_it_is_from(project, capsys):
    main()
    table = manifest()
    assert table.columns.tolist() == [
        *("id", "split", "shard", "row", "photo", "source", "kind", "converted"),
        *("x0", "y0", "x1", "y1", "scale", "group", "perceptual_hash"),
    ]
    assert table["id"].is_unique
    assert table.groupby("source").size().eq(9).all()
    assert (table.groupby("photo")["split"].nunique() == 1).all()
    for row in table[table["scale"] == 1].itertuples():
        tile = np.load(f"data/prepared/{row.split}/{row.shard}")[row.row]
        whole = load_image(f"photos/{row.source}", 1)
        assert np.array_equal(tile, whole[row.y0 : row.y1, row.x0 : row.x1])
    assert set(table["scale"]) == {0.5, 1.0}
    for split in SPLITS:
        rows = table[table["split"] == split]
        assert rows["photo"].is_monotonic_increasing  # all lie in the same folder
        assert len(Tiles([f"data/prepared/{split}"])) == len(rows) == summary()[f"tiles_{split}"]
        assert rows["photo"].nunique() == summary()[f"photos_{split}"]
    said = f"{summary()['tiles_train']} train tiles from {summary()['photos_train']} photos, "
    assert said in capsys.readouterr().out


def test_only_the_outputs_are_left(project):
    main()
    shards = [f"{row.split}/{row.shard}" for row in manifest().drop_duplicates("shard").itertuples()]
    records = [f"{split}/shards.json" for split in SPLITS]
    assert sorted(contents()) == sorted(
        [
            "data_report.html",
            "manifest.parquet",
            "near_duplicates.csv",
            "rejects.csv",
            "summary.json",
            *shards,
            *records,
        ]
    )
    assert [path.name for path in Path("data").iterdir()] == ["prepared"]
    assert Path("data/prepared/rejects.csv").read_text() == "path,reason,detail\n"


def test_neither_workers_nor_names_nor_an_earlier_run_change_the_tiles(project, monkeypatch):
    main()
    once = contents()
    shutil.rmtree(".remembered")
    monkeypatch.setenv("INPAINT_WORKERS", "2")
    main()
    assert contents() == once
    main()
    assert contents() == once
    for number in range(12):
        Path(f"photos/{number:02d}.png").rename(f"photos/{99 - number}.jpg")
    main()
    assert {name: data for name, data in contents().items() if name.endswith((".npy", ".json"))} == {
        name: data for name, data in once.items() if name.endswith((".npy", ".json"))
    }


def test_the_seed_chooses_tiles_but_not_splits(project):
    main()
    first = manifest()
    write_params(seed=8)
    main()
    assert manifest()[["photo", "split"]].equals(first[["photo", "split"]])
    assert not manifest()[["x0", "y0"]].equals(first[["x0", "y0"]])


def test_another_photo_moves_none(project):
    main()
    before = manifest().set_index("id").drop(columns=["row", "shard"])
    save_png("photos/more/new.png", photo(100))
    main()
    after = manifest().set_index("id").drop(columns=["row", "shard"])
    assert len(after) == len(before) + 9
    assert after.loc[before.index].equals(before)


def test_what_cannot_be_used_is_listed_with_its_reason(project):
    write_params(max_reject_share=0.4)
    Path("photos/a.txt").write_text("text")
    Path("photos/cut.png").write_bytes(Path("photos/00.png").read_bytes()[:-200])
    save_png("photos/small.png", photo(20, 40, 15))
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    Image.fromarray(np.rot90(load_image("photos/03.png", 1))).save("photos/copy of 03.png", exif=turned)
    Path("photos/loop").symlink_to("../photos")
    main()
    rejects = pd.read_csv("data/prepared/rejects.csv").set_index("path")
    assert rejects["reason"].to_dict() == {
        "a.txt": "not_an_image",
        "copy of 03.png": "duplicate",
        "cut.png": "truncated",
        "loop": "not_a_file",
        "small.png": "too_small",
    }
    assert rejects.loc["small.png", "detail"] == "15 x 40 pixels, smaller than a tile of 16"
    counts = {key: value for key, value in summary().items() if not key.startswith(("photos", "tiles"))}
    assert counts == {
        "files": 17, "kept": 12, "converted": 0, "duplicates": 1, "rejected": 4, "near_duplicates": 0,
        "rejected_not_a_file": 1, "rejected_not_an_image": 1, "rejected_too_small": 1, "rejected_truncated": 1,
    }  # fmt: skip


def test_what_the_base_weights_were_trained_on_is_no_test(project, capsys):
    main()
    splits = manifest().drop_duplicates("source").set_index("source")["split"]
    Path("data/base").mkdir()
    np.save("data/base/photographs.npy", np.concatenate([perceptual_hash(photo(n), False) for n in range(12)]))
    seen = {split: splits.index[splits == split] for split in ("train", "val", "test")}
    with pytest.raises(InputError, match="none of them is in val or test"):
        main()
    one = int(seen["test"][0][:2])
    np.save("data/base/photographs.npy", perceptual_hash(photo(one, 80, 120), False))  # the same in another size
    main()
    now = manifest().drop_duplicates("source").set_index("source")["split"]
    assert splits.drop(seen["test"][0]).equals(now)
    assert pd.read_csv("data/prepared/rejects.csv")["reason"].tolist() == ["seen_by_base"]
    assert "left out 1 photos of val or test that the base weights were trained on" in capsys.readouterr().out


def test_near_duplicates_never_stand_in_two_splits(project, capsys):
    main()
    before = manifest().drop_duplicates("source").set_index("source")["split"]
    for number in range(12):
        Image.fromarray(photo(number)).save(f"photos/{number:02d} again.jpg", quality=85)
    main()
    after = manifest().assign(picture=lambda table: table["source"].str[:2])
    assert (after.groupby("picture")["split"].nunique() == 1).all()
    assert (after.groupby("picture")["group"].nunique() == 1).all()
    assert (after.groupby("picture").size() > 0).sum() == 12
    splits = after.drop_duplicates("source").set_index("source")["split"]
    stayed = before.index.intersection(splits.index)
    assert splits[stayed].equals(before[stayed])  # none moves: who gives way is left out
    left_out = pd.read_csv("data/prepared/rejects.csv")
    assert set(left_out["reason"]) == {"near_duplicate"}
    assert len(left_out) == 24 - len(splits) == summary()["rejected_near_duplicate"] > 0
    assert summary()["near_duplicates"] == 24
    pairs = pd.read_csv("data/prepared/near_duplicates.csv")
    assert len(pairs) == 12
    assert (pairs["path"].str[:2] == pairs["near"].str[:2]).all()
    assert pairs["bits"].between(0, 6).all()
    assert pairs[["split", "split_of_near"]].stack().str.contains("left out").sum() == len(left_out)
    for row in left_out.itertuples():
        kept = row.path[:2]
        assert re.fullmatch(
            rf"looks like {kept}( again.jpg|.png), which is in (val|test), and would be in \w+", row.detail
        )
    assert f"left out {len(left_out)} photos that look like others in a stronger split" in capsys.readouterr().out


def test_the_page_shows_what_became_of_the_files_and_what_looks_alike(project, capsys):
    Image.fromarray(photo(3)).save("photos/like 03.jpg", quality=85)
    Path("photos/a <b>.txt").write_text("text")
    Image.fromarray(photo(20)).convert("L").save("photos/grey.png")
    main()
    page = Path("data/prepared/data_report.html").read_text()
    assert "15 files: 1" in page
    assert "converted: grey" in page
    assert "rejected: not an image" in page
    assert "a &lt;b&gt;.txt" in page
    for name in ("03.png", "like 03.jpg"):
        assert re.search(rf"<figcaption>{name}: (train|val|test)", page)
    assert page.count("<img") == 3 + 2
    assert "data report: data/prepared/data_report.html" in capsys.readouterr().out


def refused(message: str, kind: type[Exception] = InputError) -> None:
    with pytest.raises(kind, match=message):
        main()


def test_a_folder_of_something_else_is_refused_and_the_last_result_stays(project):
    main()
    once = contents()
    for number in range(5):
        Path(f"photos/{number}.txt").write_text("text")
    refused(
        r"5 of 17 files cannot be used, more than `prepare.max_reject_share` 0.25 allows; take them out, or raise the "
        r"share:\n  5 not_an_image, e.g. 0.txt: not a picture"
    )
    for path in Path("photos").glob("*.png"):
        path.write_bytes(b"")
    refused("17 of 17 files cannot be used; take them out or mend them:\n  17 not_an_image, e.g. 0.txt")
    assert contents() == once
    assert [path.name for path in Path("data").iterdir()] == ["prepared"]


def test_an_empty_split_says_how_many_photos_it_takes(project):
    write_params(val_share=0.01)
    refused(r"12 photos can be used, and none of them is in val; .* \(with about 299 an empty split is unlikely\)")
    write_params(test_share=0.65)
    for path in sorted(Path("photos").glob("*.png"))[1:]:
        path.unlink()
    refused(r"1 photos can be used, and none of them is in .* or .*; .* \(with about 59 an empty")
    assert not Path("data/prepared").exists()


def test_a_list_decides_the_splits(project):
    lines = [f",photos/{number:02d}.png,{SPLITS[number % 3]}," for number in range(6)]
    Path("list.csv").write_text("\n".join(["package,file,split,sha256", *lines]))
    write_params(photos="list.csv")
    main()
    splits = manifest().drop_duplicates("source").set_index("source")["split"].to_dict()
    assert splits == {f"photos/{number:02d}.png": SPLITS[number % 3] for number in range(6)}
    Path("list.csv").write_text("\n".join(["package,file,split,sha256", *lines[:2]]))
    refused("2 photos can be used, and none of them is in test; add photos of each split")
    Path("list.csv").write_text(f"package,file,split,sha256\n,photos/00.png,test,{'0' * 64}\n")
    refused("photos/00.png is not the listed file: its SHA-256 is")


def test_photos_of_one_group_stand_in_one_split_whatever_comes(project):
    lines = [f"photos/{number:02d}.png,{number // 2}" for number in range(12)]
    Path("list.csv").write_text("\n".join(["name,scene", *lines]))
    write_params(photos="list.csv", columns={"file": "name", "group": "scene"})
    main()
    before = manifest().drop_duplicates("source").set_index("source")["split"]
    assert before.groupby(before.index.str[7:9].astype(int) // 2).nunique().eq(1).all()
    save_png("photos/12.png", photo(12))
    Path("list.csv").write_text("\n".join(["name,scene", "photos/12.png,0", *lines]))
    main()
    after = manifest().drop_duplicates("source").set_index("source")["split"]
    assert after["photos/12.png"] == after["photos/00.png"]
    assert after[before.index].equals(before)


def test_of_near_duplicates_that_a_list_parts_those_in_the_test_split_stay(project):
    Image.fromarray(photo(2)).save("photos/again.jpg", quality=85)
    listed = {"00.png": "train", "01.png": "val", "02.png": "test", "again.jpg": "train"}
    lines = [f",photos/{name},{split}," for name, split in listed.items()]
    Path("list.csv").write_text("\n".join(["package,file,split,sha256", *lines]))
    write_params(photos="list.csv")
    main()
    splits = manifest().drop_duplicates("source").set_index("source")["split"].to_dict()
    assert splits == {f"photos/{name}": split for name, split in listed.items() if name != "again.jpg"}
    (row,) = pd.read_csv("data/prepared/rejects.csv").itertuples()
    assert row.path == "photos/again.jpg"
    assert row.detail == "looks like photos/02.png, which is in test, and would be in train"


def test_of_the_same_pixels_the_one_in_the_strongest_split_stays(project):
    for number in range(12):
        Image.fromarray(photo(number)).save(f"photos/00 copy {number:02d}.bmp")
    main()
    rejects = pd.read_csv("data/prepared/rejects.csv")
    assert rejects["reason"].tolist() == ["duplicate"] * 12
    table = manifest().drop_duplicates("source").set_index("source")
    for row in rejects.itertuples():
        kept = row.detail.removeprefix("the same pixels as ")
        gone = split_of(hashlib.sha256(Path("photos", row.path).read_bytes()).hexdigest(), 0.3, 0.3)
        assert SPLITS.index(table.loc[kept, "split"]) >= SPLITS.index(gone)
        if table.loc[kept, "split"] == gone:
            assert kept < row.path


def test_the_stereo_pair_among_the_embedded_photographs_is_one_group(project):
    write_params(photos=str(ROOT / "data/embedded.csv"), short_sides=[32], tile_size=32, max_megapixels=2)
    main()
    table = manifest().drop_duplicates("source").set_index("source")
    pair = table.loc[["skimage/data/motorcycle_left.png", "skimage/data/motorcycle_right.png"]]
    assert pair["group"].nunique() == 1
    assert summary()["near_duplicates"] == 2
    assert table["split"].value_counts().to_dict() == {"train": 11, "test": 4, "val": 3}


def test_as_a_program_it_fails_in_words(project):
    write_params(photos="absent")
    done = subprocess.run(
        [sys.executable, "-m", "stages.prepare"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("\nprepare: `prepare.photos` in params.yaml is 'absent'")
    assert "Traceback" not in done.stderr
