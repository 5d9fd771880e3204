"""Photographs in object storage, here a real S3 server, are prepared like those in a folder, and each is read once."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import pandas as pd
import pytest
import requests
import s3fs
from moto.server import ThreadedMotoServer

from stages.imaging.images import save_png
from stages.prepare import __main__ as stage
from stages.prepare.listing import write_listing
from stages.runtime import preflight
from stages.runtime.errors import InputError
from tests.clone import TINY, Clone, merged
from tests.factories import contents, photo, write_params

NAMES = ["a b/ü ñ.png", "a b/50% #1?&+[x].png", "日本/::.png", *(f"c/{number:03d}.png" for number in range(27))]


class Store:
    """An S3 server on loopback with the bucket `photos`."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        self.url = "http://{}:{}".format(*self._server.get_host_and_port())
        self.asked: list[str] = []

    def fill(self) -> None:
        client = boto3.client("s3", region_name="us-east-1")
        for bucket in ("photos", "empty"):
            client.create_bucket(Bucket=bucket)
        for number, name in enumerate(NAMES):
            save_png(Path("photos", name), photo(number))
            self.put(f"album/{name}", number)
        client.put_object(Bucket="photos", Key="album/c/", Body=b"")  # as consoles mark a folder
        client.put_object(Bucket="photos", Key="album/.DS_Store", Body=b"")
        client.close()

    def put(self, key: str, seed: int) -> None:
        client = boto3.client("s3", region_name="us-east-1")
        save_png("one.png", photo(seed))
        client.upload_file("one.png", "photos", key)
        client.close()

    def lock(self) -> None:
        """Refuse everybody from now on, for no key has rights."""
        requests.post(f"{self.url}/moto-api/reset-auth", data="0", timeout=9)

    def reads(self) -> int:
        """Return how many files were read since it was last asked."""
        found = sum("GET /photos/album/" in line for line in self.asked)
        self.asked.clear()
        return found

    def stop(self) -> None:
        server = self._server._server
        if server is not None and server.fileno() != -1:
            self._server.stop()
            server.server_close()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A bucket of photographs, the same in a folder, and params that name the bucket."""
    monkeypatch.chdir(tmp_path)
    store = Store()
    given = {"ENDPOINT_URL": store.url, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "MAX_ATTEMPTS": "2"}
    for name, value in given.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("INPAINT_WORKERS", "1")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    s3fs.S3FileSystem.clear_instance_cache()
    handler = logging.Handler()
    handler.emit = lambda record: store.asked.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("werkzeug").addHandler(handler)
    logging.getLogger("werkzeug").setLevel(logging.INFO)
    requests.post(f"{store.url}/moto-api/reset", timeout=9)
    requests.post(f"{store.url}/moto-api/reset-auth", data="inf", timeout=9)
    store.fill()
    write_params(photos="s3://photos/album")
    yield store
    store.stop()
    logging.getLogger("werkzeug").removeHandler(handler)


def test_a_bucket_is_prepared_as_a_folder_and_read_once(store):
    stage.main()
    assert store.reads() == len(NAMES)
    remote = contents()
    stage.main()
    assert store.reads() == 0
    write_params(photos="photos")
    shutil.rmtree(".remembered")
    stage.main()
    assert contents() == remote


def test_only_new_photographs_are_read(store):
    stage.main()
    store.put("album/d/new.png", 90)
    store.put("album/d/twin.png", 1)
    store.reads()
    stage.main()
    assert store.reads() == 2
    stage.main()
    assert store.reads() == 0
    assert "d/twin.png" in set(pd.read_csv("data/prepared/rejects.csv")["path"])


@pytest.mark.parametrize("name", ["photos.csv", "photos.parquet"])
def test_a_listing_stands_for_the_bucket(store, name):
    stage.main()
    prepared = contents()
    store.reads()
    assert write_listing("s3://photos/album/", Path(name)) == len(NAMES)
    write_params(photos=name)
    stage.main()
    assert (contents(), store.reads()) == (prepared, 0)
    before = Path(name).read_bytes()
    write_listing("s3://photos/album", Path(name))
    assert Path(name).read_bytes() == before
    store.put(f"album/{NAMES[5]}", 95)
    write_listing("s3://photos/album", Path(name))
    stage.main()
    assert contents() != prepared


def test_files_without_a_version_are_read_again_and_have_one_record(store):
    names = "\n".join(f"s3://photos/album,{name}" for name in NAMES)
    Path("photos.csv").write_text(f"folder,file\n{names}\n")
    write_params(photos="photos.csv")
    for _ in range(2):
        stage.main()
        assert store.reads() == len(NAMES)
    (records,) = Path(".remembered/prepare").glob("*/records.arrow")
    assert len(pd.read_feather(records)) == len(NAMES)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://absent/album", "s3://absent/album does not exist; correct `prepare.photos`"),
        ("s3://photos/absent", "s3://photos/absent does not exist"),
        ("s3://empty", "s3://empty is empty; put photographs there"),
        ("s3://photos/absent.csv", r"s3://photos/absent.csv cannot be read: it does not exist"),
        ("gs://photos", "gs://photos needs a driver, which is not installed; run make gs"),
        ("ftq://photos", "ftq://photos has an unknown scheme; it should be an address such as s3://bucket"),
    ],
)
def test_a_wrong_address_is_named(store, address, message):
    write_params(photos=address)
    with pytest.raises(InputError, match=message):
        stage.main()


def test_a_list_of_a_folder_is_not_asked_for(tmp_path):
    with pytest.raises(InputError, match="a folder needs no list"):
        write_listing(str(tmp_path), Path("photos.csv"))


@pytest.mark.parametrize("check", [stage.main, preflight.main])
def test_a_bucket_without_rights_is_named(store, check):
    store.lock()
    with pytest.raises(InputError, match=r"s3://photos/album may not be read \(PermissionError: .*or the credentials"):
        check()


def test_a_bucket_that_dies_on_the_way_ends_the_stage_and_the_next_goes_on(store, monkeypatch):
    find = stage.find_sources

    def then_die(params):
        found = find(params)
        store.stop()
        return found

    monkeypatch.setattr(stage, "find_sources", then_die)
    with pytest.raises(InputError, match=r"s3://photos/album cannot be reached .*; check network and credentials"):
        stage.main()
    assert not Path("data/prepared").exists()


def test_a_file_that_is_gone_by_then_is_a_reject(store, monkeypatch):
    find = stage.find_sources

    def then_delete(params):
        found = find(params)
        s3fs.S3FileSystem().rm(f"photos/album/{NAMES[4]}")
        return found

    monkeypatch.setattr(stage, "find_sources", then_delete)
    stage.main()
    (row,) = pd.read_csv("data/prepared/rejects.csv").itertuples()
    assert (row.path, row.reason, row.detail) == (NAMES[4], "unreadable", "it does not exist")
    monkeypatch.setattr(stage, "find_sources", find)
    store.put(f"album/{NAMES[4]}", 4)
    stage.main()
    assert len(pd.read_csv("data/prepared/rejects.csv")) == 0
    store.reads()
    stage.main()
    assert store.reads() == 0


@pytest.mark.slow
def test_dvc_looks_at_a_bucket_and_runs_what_a_new_photograph_affects(store, tmp_path):
    clone = Clone(
        tmp_path / "clone",
        merged(TINY, {"prepare": {"photos": "s3://photos/album", "val_share": 0.3, "test_share": 0.3}}),
    )
    ran = "Running stage 'prepare'"
    assert ran in clone.run("dvc", "repro", "photographs", DVC_ROOT="").stdout
    store.reads()
    assert ran not in clone.run("dvc", "repro", "photographs", DVC_ROOT="").stdout
    assert store.reads() == 0
    store.put("album/d/new.png", 90)
    assert ran in clone.run("dvc", "repro", "photographs", DVC_ROOT="").stdout
    assert 1 <= store.reads() <= 1 + TINY["photographs"]["count"]  # the new one, and those that get holes
