"""Every file that lies in the folder ends in exactly one place, whatever state it is in: kept, converted or refused."""

import errno
import os
import shutil
import socket
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.imaging.images import printable_name, save_png
from stages.prepare.__main__ import main
from stages.runtime.errors import InputError
from tests import bad_files
from tests.clone import ROOT
from tests.factories import contents, photo, write_params, write_photos
from tests.integration.prepare.test_prepare import summary

NOBODY = 65534
SETTINGS = {"tile_size": 16, "short_sides": [20, 40], "max_reject_share": 0.9, "near_duplicate_bits": 0}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty photo folder; its project has photographs enough for all splits beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INPAINT_WORKERS", "1")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    write_params(**SETTINGS)
    write_photos("photos/enough", range(12))
    return tmp_path / "photos"


def fates() -> dict[str, str]:
    """What became of each file: its conversion ("" where there is none) or the reason why it is not used."""
    manifest = pd.read_parquet("data/prepared/manifest.parquet").drop_duplicates("source")
    rejects = pd.read_csv("data/prepared/rejects.csv")
    used = dict(zip(manifest["source"], manifest["converted"], strict=True))
    refused = dict(zip(rejects["path"], rejects["reason"], strict=True))
    assert not used.keys() & refused.keys()
    assert len(used) + len(refused) == summary()["files"]
    assert len(refused) == len(rejects)
    counts = summary()
    assert counts["kept"] == sum(change == "" for change in used.values())
    assert counts["converted"] == sum(change != "" for change in used.values())
    assert counts["duplicates"] == list(refused.values()).count("duplicate")
    assert counts["kept"] + counts["converted"] + counts["duplicates"] + counts["rejected"] == counts["files"]
    return {name: fate for name, fate in (used | refused).items() if not name.startswith("enough/")}


def test_every_kind_of_file_is_accounted_for(folder):
    wanted = {}
    for name, make in (bad_files.USABLE | bad_files.REFUSED).items():
        content, wanted[f"{name}/{name}"] = make()
        (folder / name).mkdir()
        (folder / name / name).write_bytes(content)
    main()
    found = fates()
    twins = {name for name, fate in found.items() if fate in ("duplicate", "near_duplicate")}  # most show one picture
    assert {name: fate for name, fate in found.items() if name not in twins} == {
        name: fate for name, fate in wanted.items() if name not in twins
    }
    assert not any(name.removesuffix(f"/{name.split('/')[1]}") in bad_files.REFUSED for name in twins)
    assert len(twins) < len(bad_files.USABLE)


def test_what_is_no_file_is_named_and_never_waited_for(folder):
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as unix:
        os.chdir(folder)
        unix.bind("socket.jpg")
        os.chdir(folder.parent)
        (folder / "loop").symlink_to(folder)
        (folder / "broken.jpg").symlink_to("nowhere.jpg")
        (folder / "itself.jpg").symlink_to("itself.jpg")
        (folder / "folder.jpg").mkdir()
        save_png(folder / "folder.jpg" / "inside.png", photo(30))
        main()
    assert fates() == {
        "broken.jpg": "unreadable", "folder.jpg/inside.png": "", "itself.jpg": "unreadable", "loop": "not_a_file",
        "pipe.jpg": "not_a_file", "socket.jpg": "not_a_file",
    }  # fmt: skip


def test_names_of_any_kind_do_no_harm(folder):
    names = [
        "new\nline.png",
        'quote",.png',
        unicodedata.normalize("NFC", "é.png"),
        unicodedata.normalize("NFD", "é.png"),
    ]
    names += [os.fsdecode(b"caf\xe9.png"), "stem.png", "stem.bmp", "STEM.PNG", "-rf.png", " .png", "漢字.png"]
    for seed, name in enumerate(names, start=30):
        Image.fromarray(photo(seed)).save(folder / name)
    main()
    assert fates() == {printable_name(name): "" for name in names}
    assert pd.read_parquet("data/prepared/manifest.parquet")["source"].isin([r"caf\xe9.png"]).any()


@contextmanager
def without_privilege(folder: Path) -> Iterator[None]:
    """Be nobody, where the tests run as root, whom no permission stops; all that lies in the folder is nobody's."""
    if os.getuid() != 0:
        yield
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    for path in folder.parents:
        path.chmod(path.stat().st_mode | 0o011)  # pytest keeps others out of its folders
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        if not os.access(ROOT / "stages", os.R_OK | os.X_OK, effective_ids=True):
            pytest.skip("the project lies where only root may read it")
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_what_may_not_be_read_is_refused_and_the_rest_goes_on(folder):
    main()  # once, since nobody may not import what is imported late
    save_png(folder / "closed.png", photo(30))
    save_png(folder / "closed folder" / "inside.png", photo(31))
    with without_privilege(folder.parent):
        (folder / "closed.png").chmod(0)
        (folder / "closed folder").chmod(0)
        main()
        (folder / "closed folder").chmod(0o700)
    assert fates() == {"closed.png": "unreadable", "closed folder": "unreadable"}
    details = pd.read_csv("data/prepared/rejects.csv").set_index("path")["detail"]
    assert details["closed folder"] == "PermissionError: Permission denied"
    with without_privilege(folder.parent):
        folder.chmod(0)
        with pytest.raises(InputError, match="photos cannot be searched"):
            main()
        folder.chmod(0o700)


@pytest.mark.parametrize(("failures", "fate"), [(1, ""), (2, "unreadable")])
def test_a_disk_that_fails_once_is_asked_again(folder, monkeypatch, failures, fate):
    save_png(folder / "shaky.png", photo(40))
    decode, failed = sys.modules["stages.prepare.photos"].decode, []

    def read_badly(file, *settings):
        if file.name.endswith("shaky.png") and len(failed) < failures:
            failed.append(file.name)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return decode(file, *settings)

    monkeypatch.setattr("stages.prepare.photos.decode", read_badly)
    main()
    assert len(failed) == failures
    assert fates() == {"shaky.png": fate}


def test_a_photo_that_vanishes_or_is_written_to_while_it_is_read_is_refused(folder, monkeypatch):
    for name in ("vanishing.png", "growing.png"):
        save_png(folder / name, photo(40 + len(name)))
    find = sys.modules["stages.prepare.__main__"].find_sources

    def then_remove(photos: Path):
        sources = find(photos)
        (folder / "vanishing.png").unlink()
        return sources

    decode = sys.modules["stages.prepare.photos"].decode

    def while_it_grows(file, *settings):
        if file.name.endswith("growing.png"):
            with Path(file.name).open("ab") as growing:
                growing.write(b"more")
        return decode(file, *settings)

    monkeypatch.setattr("stages.prepare.__main__.find_sources", then_remove)
    monkeypatch.setattr("stages.prepare.photos.decode", while_it_grows)
    main()
    assert fates() == {"growing.png": "changed", "vanishing.png": "unreadable"}
    monkeypatch.setattr("stages.prepare.photos.decode", decode)
    monkeypatch.setattr("stages.prepare.__main__.find_sources", find)
    main()  # such a refusal is not remembered
    assert fates() == {"growing.png": ""}


def test_rubbish_is_refused_once_and_for_all_but_only_by_its_content(folder):
    (folder / "a.txt").write_text("text")
    main()
    first = contents()
    main()
    assert contents() == first
    (folder / "a.txt").unlink()
    save_png(folder / "a.txt", photo(30))
    main()
    assert fates() == {"a.txt": ""}


def test_the_disk_may_be_read_only_where_the_photos_are(folder):
    before = sorted(path.stat().st_mtime_ns for path in folder.rglob("*"))
    main()
    assert sorted(path.stat().st_mtime_ns for path in folder.rglob("*")) == before
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(InputError, match="is empty; put photographs there"):
        main()


def test_a_large_jpeg_is_decoded_smaller_and_its_boxes_are_its_own(folder):
    large = np.asarray(Image.fromarray(photo(50, 480, 640)).resize((1280, 960)))
    write_params(**(SETTINGS | {"max_megapixels": 2}))
    Image.fromarray(large).save(folder / "large.jpg", quality=95)
    main()
    table = pd.read_parquet("data/prepared/manifest.parquet")
    table = table[table["source"] == "large.jpg"]
    assert table[["x1", "y1"]].max().tolist() == [1280, 960]
    for row in table.itertuples():
        tile = np.load(f"data/prepared/{row.split}/{row.shard}")[row.row].astype(int)
        box = Image.fromarray(large[row.y0 : row.y1, row.x0 : row.x1]).resize((16, 16), Image.Resampling.BOX)
        assert np.abs(tile - np.asarray(box)).mean() < 6
