"""The second fixed test: which photographs with which holes, and that it stays what it is."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from stages import photographs
from stages.imaging.drawing.everyday import EVERYDAY_KINDS
from stages.photographs import choose, draw, large_enough, main, scaled
from stages.runtime.errors import InputError

KINDS = len(EVERYDAY_KINDS)
SIZES = {"a.png": (60, 90), "b.png": (240, 150), "c.png": (40, 400)}
SCALED = {"a.png": (60, 90, 3), "b.png": (120, 75, 3), "c.png": (40, 120, 3)}


def named(count: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]


@pytest.mark.parametrize("photos", [1, 3, 4, 7, 40])
def test_kinds_come_in_turn_and_photographs_equally_often(photos: int) -> None:
    questions = choose(named(photos), 28, seed=7)
    assert [one.kind for one in questions] == [EVERYDAY_KINDS[n % KINDS] for n in range(28)]
    shown = Counter(one.photo for one in questions)
    assert len(shown) == min(photos, 28)
    assert max(shown.values()) - min(shown.values()) <= 1
    assert len({one.name for one in questions}) == 28


def test_a_photograph_shows_other_kinds_of_holes_before_one_comes_twice() -> None:
    assert all(one.number == 0 for one in choose(named(4), 4 * KINDS, seed=7))
    assert {one.number for one in choose(named(1), 3 * KINDS, seed=7)} == {0, 1, 2}


def test_another_photograph_changes_no_hole_and_few_questions() -> None:
    before, after = choose(named(40), 28, seed=7), choose(named(41), 28, seed=7)
    assert len({one.photo for one in before} - {one.photo for one in after}) <= 1
    same = next(one for one in before if one in after)
    assert np.array_equal(draw(same, (50, 70), 7), draw(after[after.index(same)], (50, 70), 7))


def test_the_seed_decides_which_photographs_and_which_holes() -> None:
    assert choose(named(40), 5, seed=7) != choose(named(40), 5, seed=8)
    (one,) = choose(named(1), 1, seed=7)
    assert not np.array_equal(draw(one, (50, 70), 7), draw(one, (50, 70), 8))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((300, 200), (96, 64)), ((90, 60), (90, 60)), ((50, 1000), (32, 96)), ((1000, 50), (96, 32))],
)
def test_the_longer_side_is_brought_down_and_a_panorama_cut(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert scaled(np.zeros((*shape, 3), np.uint8), 96).shape[:2] == expected


def test_of_a_panorama_the_middle_is_taken() -> None:
    wide = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 40, axis=0).repeat(3, axis=2)
    assert scaled(wide, 200)[0, [0, -1], 0].tolist() == [40, 159]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng, rows = np.random.default_rng(0), []
    (tmp_path / "photos").mkdir()
    (tmp_path / "data/prepared").mkdir(parents=True)
    for name, (h, w) in SIZES.items():
        Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)).save(tmp_path / "photos" / name)
        photo = hashlib.sha256((tmp_path / "photos" / name).read_bytes()).hexdigest()
        rows += [{"split": "test", "photo": photo, "source": name, "x1": w, "y1": h}] * 2
    rows += [{"split": "train", "photo": "0" * 64, "source": "gone.png", "x1": 90, "y1": 90}]
    pd.DataFrame(rows).to_parquet(tmp_path / "data/prepared/manifest.parquet")
    params = {
        "seed": 7,
        "prepare": {"photos": "photos", "table": "", "columns": {}, "split_folders": False, "max_megapixels": 10},
        "photographs": {"max_side": 120, "count": 9, "gallery": 4},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INPAINT_WORKERS", "1")
    return tmp_path


def test_questions_are_written_with_ids_and_hashes_of_their_pixels(project: Path) -> None:
    main()
    table = pd.read_csv("data/photographs/photographs.csv")
    assert list(table.columns) == ["id", "photo", "source", "kind", "ratio", "shown", "sha256"]
    assert table["source"].value_counts().to_dict() == dict.fromkeys(SIZES, 3)
    assert table["shown"].to_list() == [True] * 4 + [False] * 5
    for _, row in table.iterrows():
        target = np.asarray(Image.open(f"data/photographs/images/{row['id']}.png"))
        hole = np.asarray(Image.open(f"data/photographs/holes/{row['id']}.png"))
        assert target.shape == SCALED[row["source"]]
        assert set(np.unique(hole)) == {0, 255}
        assert (hole > 0).mean() == pytest.approx(row["ratio"])
        pixels = target.tobytes() + (hole > 0).astype(np.uint8).tobytes()
        assert hashlib.sha256(pixels).hexdigest().startswith(row["sha256"])


def test_the_same_inputs_give_the_same_files(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main()
    before = {path: path.read_bytes() for path in Path("data/photographs").rglob("*.*")}
    monkeypatch.setenv("INPAINT_WORKERS", "2")
    monkeypatch.setattr(photographs, "_LOCAL_S", 0.0)
    main()
    assert before == {path: path.read_bytes() for path in Path("data/photographs").rglob("*.*")}


def test_only_what_is_asked_of_is_decoded(project: Path) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["photographs"]["count"] = 2
    Path("params.yaml").write_text(yaml.safe_dump(params))
    main()
    (left_out,) = set(SIZES) - set(pd.read_csv("data/photographs/photographs.csv")["source"])
    Path("photos", left_out).write_bytes(b"")
    main()


def test_a_photograph_that_cannot_be_read_any_more_is_named(project: Path) -> None:
    content = Path("photos/b.png").read_bytes()
    Path("photos/b.png").write_bytes(content[:-40])
    with pytest.raises(InputError, match="photos/b.png has changed"):
        main()
    Path("photos/b.png").unlink()
    with pytest.raises(InputError, match="b.png, a test photograph .*no longer"):
        main()
    assert not Path("data/photographs").exists()


def test_photographs_without_room_for_a_hole_are_not_asked_of(tmp_path: Path) -> None:
    sizes = {"photo": [*"aabc"], "x1": [9, 40, 99, 9], "y1": [40, 9, 9, 40]}
    tiles, manifest = pd.DataFrame({"split": "test", **sizes}), tmp_path / "manifest.parquet"
    tiles.to_parquet(manifest, row_group_size=1)
    assert large_enough(manifest) == {"a"}
    tiles[tiles["photo"] != "a"].to_parquet(manifest)
    with pytest.raises(InputError, match="no test photographs"):
        large_enough(manifest)
