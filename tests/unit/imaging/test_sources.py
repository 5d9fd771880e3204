"""Files are found in one order whatever the disk says, and a list is checked line by line."""

import hashlib
import os
from pathlib import Path

import pandas as pd
import pytest

from stages.imaging.source_table import Source, check_listed
from stages.imaging.sources import Columns, SourcesParams, find_sources
from stages.runtime.errors import InputError, ParamsError
from tests.clone import ROOT

HEADER = "package,file,split,sha256\n"
EMBEDDED = ROOT / "data/embedded.csv"


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def find(photos: Path, table: str = "", split_folders: bool = False, **columns: str) -> list[Source]:
    return find_sources(
        SourcesParams(photos=str(photos), table=table, columns=Columns(**columns), split_folders=split_folders)
    )


def names(photos: Path) -> list[str]:
    return [source.name for source in find(photos)]


def test_a_folder_is_searched_in_depth_and_sorted(tmp_path):
    touch(tmp_path, "b.jpg", "a/z.jpg", "a/y/x.png", "B.jpg", "notes.txt", "ä.jpg")
    sources = find(tmp_path)
    assert [source.name for source in sources] == ["B.jpg", "a/y/x.png", "a/z.jpg", "b.jpg", "notes.txt", "ä.jpg"]
    assert all(source.path == tmp_path / source.name and source.split == source.sha256 == "" for source in sources)


def test_what_systems_leave_behind_is_no_photo(tmp_path):
    touch(tmp_path, "a.jpg", ".DS_Store", "._a.jpg", "Thumbs.db", "sub/desktop.ini", ".git/b.jpg")
    assert names(tmp_path) == ["a.jpg"]


def test_links_to_files_are_followed_and_links_to_folders_only_named(tmp_path):
    touch(tmp_path, "photos/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "photos" / "link.jpg").symlink_to(tmp_path / "elsewhere" / "b.jpg")
    (tmp_path / "photos" / "loop").symlink_to(tmp_path / "photos")
    assert names(tmp_path / "photos") == ["a.jpg", "link.jpg", "loop"]
    (tmp_path / "root").symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path / "root") == ["b.jpg"]


def test_a_name_that_is_not_utf8_is_kept_readable(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"")
    (source,) = find(tmp_path)
    assert source.name == r"caf\xe9.jpg"
    assert source.path.read_bytes() == b""


def test_nothing_there_says_which_setting_to_change(tmp_path):
    with pytest.raises(ParamsError, match="`prepare.photos` .*absent'"):
        find(tmp_path / "absent")
    with pytest.raises(InputError, match="is empty; put photographs there"):
        find(tmp_path)


def test_a_list_names_files_beside_it_and_in_packages(tmp_path):
    touch(tmp_path, "own/a.jpg")
    (tmp_path / "list.csv").write_text(
        f"\ufeff{HEADER},own/a.jpg,val,\n\nskimage,data/coffee.png,test,{'0' * 64}\n", encoding="utf-8"
    )
    own, packaged = find(tmp_path / "list.csv")
    assert (own.path, own.name, own.split, own.sha256) == (tmp_path / "own/a.jpg", "own/a.jpg", "val", "")
    assert (packaged.name, packaged.split, packaged.sha256) == ("skimage/data/coffee.png", "test", "0" * 64)
    assert packaged.path.is_file()


def test_a_table_of_another_kind_is_read_by_the_names_of_its_columns(tmp_path):
    touch(tmp_path, "pets/train/a.jpg", "pets/b.jpg", "pets/c.jpg")
    table = pd.DataFrame(
        {
            "file_name": ["train/a.jpg", "b.jpg", "b.jpg"],
            "owner": ["ann", None, None],
            "text": list("xyy"),
            "n": [1, 2, 2],
        }
    )
    table.to_csv(tmp_path / "pets/metadata.csv", index=False)
    table.to_json(tmp_path / "pets/metadata.jsonl", orient="records", lines=True)
    table.to_parquet(tmp_path / "pets/metadata.parquet")
    for suffix in ("csv", "jsonl", "parquet"):
        sources = find(tmp_path / "pets", f"metadata.{suffix}", file="file_name", group="owner")
        assert [(each.name, each.group, each.split) for each in sources] == [
            ("train/a.jpg", "ann", ""),
            ("b.jpg", "", ""),
        ]
        with pytest.raises(InputError, match="has no column 'file', but file_name, owner, text, n"):
            find(tmp_path / f"pets/metadata.{suffix}")
        with pytest.raises(InputError, match="no column 'person', .* set `prepare.columns.group`"):
            find(tmp_path / f"pets/metadata.{suffix}", file="file_name", group="person")
    with pytest.raises(ParamsError, match="`prepare.table` .* is 'list.csv', but .*pets/list.csv is no file"):
        find(tmp_path / "pets", "list.csv")


def test_folders_called_as_splits_are_the_splits_when_that_is_asked_for(tmp_path):
    touch(tmp_path, "train/a.jpg", "Validation/b.jpg", "test/x/c.jpg", "more/train/d.jpg")
    texts = ("metadata.csv", "train/metadata.jsonl", "test/labels.json", "README.md", "LICENSE.TXT")
    touch(tmp_path, *texts)
    assert {each.name for each in find(tmp_path)} > set(texts)  # they may be photographs with the wrong suffix
    found = {each.name: each.split for each in find(tmp_path, split_folders=True)}
    assert found == {"train/a.jpg": "train", "Validation/b.jpg": "val", "test/x/c.jpg": "test", "more/train/d.jpg": ""}
    assert {each.split for each in find(tmp_path)} == {""}
    with pytest.raises(ParamsError, match="more/train has no photos"):
        find(tmp_path / "more/train", split_folders=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; it should list photographs"),
        ("path,split\na.jpg,train\n", "has no column 'file', but path, split; set `prepare.columns.file`"),
        (HEADER, "lists no photographs"),
        (HEADER + ",a.jpg,train,,x\n", "neither a folder nor a list of photographs: .*does not match length of data"),
        (
            HEADER + ",a.jpg,training,\n",
            r"line 2 \(a.jpg\): the split should be one of train, val, test, .* is 'training'",
        ),
        (HEADER + ",a.jpg,train,\n\n,b.jpg,train,\n", "line 4: .*b.jpg does not exist; paths are relative to"),
        (HEADER + ",a.jpg,train,\n,a.jpg,val,\n", "line 3: a.jpg has another folder, split, group or hash above"),
        (HEADER + "no_such_package,a.jpg,train,\n", "line 2: the package no_such_package is not installed"),
        (HEADER + "skimage,data/none.png,train,\n", "none.png does not exist; install the locked version of skimage"),
        (
            "file,split,group\na.jpg,train,ann\nc.jpg,,ann\n",
            "c.jpg: the group 'ann' is in the splits 'train' and none; use",
        ),
    ],
)
def test_a_wrong_list_is_refused_by_line(text, message, tmp_path):
    touch(tmp_path, "a.jpg", "c.jpg")
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        find(tmp_path / "list.csv")


def test_a_photo_is_not_taken_for_a_list(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF")
    with pytest.raises(InputError, match=r"a.jpg is neither a folder nor a list of photographs"):
        find(tmp_path / "a.jpg")


def test_the_embedded_photographs_are_installed_as_listed():
    sources = find(EMBEDDED)
    assert {source.split for source in sources} == {"train", "val", "test"}
    assert len(sources) == len({source.path for source in sources}) == 18
    for source in sources:
        check_listed(source, hashlib.sha256(source.path.read_bytes()).hexdigest())
        with pytest.raises(InputError, match="is not the listed file: its SHA-256 is 0000"):
            check_listed(source, "0000")
