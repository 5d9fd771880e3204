"""The masks stage: balanced mask sets, the same bytes for any number of workers, mistakes in params said."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from stages.imaging.drawing.boxes import challenge_ratio
from stages.imaging.holes import BUCKETS, MaskSet, bucket_of, hole_ratio, touches_border
from stages.masks import __main__ as masks
from stages.runtime.errors import InputError, ParamsError

SIZE = 24
NONE = {"strokes": 0.0, "blobs": 0.0, "boxes": 0.0, "challenge": 0.0, "everyday": 0.0, "files": 0.0}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A folder with params for small mask sets, in which the stage runs in one process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INPAINT_WORKERS", "1")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    write_params()
    return tmp_path


def write_params(size: int = SIZE, seed: int = 3, **changed) -> None:
    section = {
        "train": 30, "val": 12, "test_per_cell": 3, "ratio_range": [0.05, 0.5],
        "kinds": NONE | {"strokes": 2.0, "blobs": 1.0, "boxes": 1.0}, "files": "pictures", "files_hole_is": "white",
    }  # fmt: skip
    Path("params.yaml").write_text(yaml.safe_dump({"seed": seed, "tile_size": size, "masks": section | changed}))


@pytest.fixture(scope="module")
def default_run(tmp_path_factory):
    """A folder in which the stage ran with the default params of these tests."""
    folder = tmp_path_factory.mktemp("masks")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("INPAINT_WORKERS", "1")
        write_params()
        masks.main()
    return folder


@pytest.fixture
def made(default_run, monkeypatch):
    """The same as the working directory; tests only read it."""
    monkeypatch.chdir(default_run)


def bank_and_table(split: str) -> tuple[np.ndarray, pd.DataFrame]:
    mask_set = MaskSet(f"data/masks/{split}.npy")
    return mask_set.gather(np.arange(len(mask_set))), pd.read_parquet(f"data/masks/{split}.parquet")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_table_says_what_is_in_the_mask_set(split, made):
    holes, table = bank_and_table(split)
    assert list(table.columns) == ["row", "kind", "ratio", "bucket", "border", "seed"]
    assert len(holes) == len(table) == {"train": 30, "val": 12, "test": 36}[split]
    assert table.row.tolist() == list(range(len(holes)))
    assert table.ratio.tolist() == [hole_ratio(hole) for hole in holes]
    assert table.bucket.tolist() == [-1 if bucket_of(ratio) is None else bucket_of(ratio) for ratio in table.ratio]
    assert table.border.tolist() == [touches_border(hole) for hole in holes]
    assert table.seed.nunique() == len(table)


def test_the_test_bank_is_balanced_and_every_hole_lies_in_its_cell(made):
    _, table = bank_and_table("test")
    counts = table.groupby(["bucket", "border"]).size()
    assert len(counts) == 2 * len(BUCKETS)
    assert set(counts) == {3}


@pytest.mark.parametrize("split", ["train", "val"])
def test_train_and_val_are_spread_evenly_over_the_ratios_and_the_border(split, made):
    _, table = bank_and_table(split)
    assert table.ratio.between(0.05, 0.5).all()
    assert table.border.tolist() == [row % 2 == 1 for row in table.row]
    ranked = np.sort(table.ratio)
    even = np.linspace(0.05, 0.5, len(ranked))
    assert np.abs(ranked - even).max() < 0.05


def test_shares_are_followed():
    write_params(train=400, kinds=NONE | {"boxes": 3.0, "blobs": 1.0})
    masks.main()
    kinds = bank_and_table("train")[1].kind.value_counts(normalize=True)
    assert set(kinds.index) == {"boxes", "blobs"}
    assert kinds["boxes"] == pytest.approx(0.75, abs=0.06)


def test_a_larger_bank_begins_with_the_smaller_one():
    masks.main()
    before = {split: bank_and_table(split) for split in ("train", "val", "test")}
    write_params(train=230, val=20, test_per_cell=5)
    masks.main()
    for split, (holes, table) in before.items():
        more_holes, more_table = bank_and_table(split)
        assert len(more_holes) > len(holes)
        assert np.array_equal(more_holes[: len(holes)], holes)
        pd.testing.assert_frame_equal(more_table[: len(table)], table)


def test_splits_and_seeds_differ():
    masks.main()
    train, val = bank_and_table("train")[0], bank_and_table("val")[0]
    assert not any(np.array_equal(one, other) for one in train for other in val)
    write_params(seed=4)
    masks.main()
    assert not np.array_equal(bank_and_table("train")[0], train)


def test_bytes_do_not_depend_on_the_number_of_workers(project, monkeypatch, capsys):
    write_params(train=450)
    masks.main()
    alone = {path.name: path.read_bytes() for path in (project / "data/masks").iterdir()}
    assert "masks: 450 train, 12 val, 36 test holes of 24 x 24 pixels in data/masks" in capsys.readouterr().out
    monkeypatch.setenv("INPAINT_WORKERS", "3")
    masks.main()
    assert {path.name: path.read_bytes() for path in (project / "data/masks").iterdir()} == alone
    mask_sets = [f"{split}.{kind}" for split in ("test", "train", "val") for kind in ("npy", "parquet")]
    assert sorted(alone) == ["data_report.html", *mask_sets]


def test_the_challenge_serves_where_its_ratio_lies():
    write_params(kinds=NONE | {"challenge": 1.0, "boxes": 1.0})
    masks.main()
    table = pd.concat(bank_and_table(split)[1] for split in ("train", "test"))
    own = table[table.kind == "challenge"]
    assert len(own) > 5
    assert set(own.ratio) == {challenge_ratio((SIZE, SIZE))}
    assert set(bank_and_table("test")[1].query("bucket != 1").kind) == {"boxes"}


def test_the_challenge_alone_cannot_fill_the_test_mask_set():
    write_params(kinds=NONE | {"challenge": 1.0})
    with pytest.raises(ParamsError, match=r"\(0\.01, 0\.1\] that does not touch"):
        masks.main()
    assert not Path("data/masks").exists()


def test_hole_pictures_are_used_where_they_fit(capsys):
    Path("pictures").mkdir()
    picture = np.zeros((48, 96), np.uint8)
    picture[12:36, 24:72] = 255  # a quarter, off the border
    Image.fromarray(picture).save("pictures/quarter.png")
    Path("pictures/broken.png").write_bytes(b"no picture")
    write_params(kinds=NONE | {"files": 9.0, "strokes": 1.0})
    masks.main()
    table = bank_and_table("test")[1]
    assert set(table.query("kind == 'files'").ratio) == {1 / 4}
    assert set(table.query("bucket != 2 or border").kind) == {"strokes"}
    assert bank_and_table("train")[1].query("kind == 'files'").ratio.nunique() > 1  # parts of it, enlarged
    said = capsys.readouterr().out
    assert "skipped" in said
    assert "mask pictures used from pictures: 1" in said


def test_pictures_of_the_other_polarity_are_noticed(capsys):
    Path("pictures").mkdir()
    for number in range(3):
        picture = np.full((48, 48), 255, np.uint8)
        picture[10:20, 5 + number : 25] = 0  # a black hole in white
        Image.fromarray(picture).save(f"pictures/{number}.png")
    write_params(kinds=NONE | {"files": 1.0, "strokes": 1.0})
    masks.main()
    warned = "in 100% of the mask pictures more than 60% is missing, up to the edge, when white means missing; if the "
    assert warned + "black parts are the holes, set `masks.files_hole_is: black`" in capsys.readouterr().out
    assert "In 100% of the mask pictures" in Path("data/masks/data_report.html").read_text()
    write_params(kinds=NONE | {"files": 1.0, "strokes": 1.0}, files_hole_is="black")
    masks.main()
    assert "means missing; if" not in capsys.readouterr().out
    assert set(bank_and_table("train")[1]["kind"]) == {"files", "strokes"}


def test_the_page_shows_every_kind_and_the_cells(made):
    page = Path("data/masks/data_report.html").read_text()
    for kind in ("strokes", "blobs", "boxes"):
        assert f"<figcaption>{kind}, " in page
    assert "<td>test, not touching it</td>" + "<td>3</td>" * 6 + "<td>0</td>" in page
    assert page.count("<svg") == 5


def test_a_missing_folder_of_pictures_is_said():
    write_params(kinds=NONE | {"files": 1.0})
    with pytest.raises(InputError, match="there are none"):
        masks.main()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kinds": NONE}, "at least one kind should have a share above 0"),
        ({"kinds": NONE | {"strokes": -1.0}}, r"`masks\.kinds\.strokes` is -1\.0"),
        ({"kinds": NONE | {"circles": 1.0}}, r"`masks\.kinds\.circles` is not a known key"),
        ({"ratio_range": [0.5, 0.2]}, r"0 < low < high <= 0\.6"),
        ({"ratio_range": [0.1, 0.7]}, r"0 < low < high <= 0\.6"),
        ({"train": 0}, r"`masks\.train` is 0"),
        ({"files_hole_is": "grey"}, r"`masks\.files_hole_is` is 'grey'"),
        ({"size": 16}, "`tile_size` is 16, but holes need at least 24 pixels"),
    ],
)
def test_mistakes_in_params_are_said(changed, message):
    write_params(**changed)
    with pytest.raises(ParamsError, match=message):
        masks.main()
