"""Which photo gets which mask, and where results go: never among what is read."""

from pathlib import Path

import pytest
from PIL import Image

from stages.runtime.errors import InputError
from stages.serving.plan import STANDARD, Job, plan


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.jpg", "in/b.png", "in/sub/c.gif", "in/.hidden/d.png", "mask.png"):
        touch(name)


def touch(name: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(name)


def made(*images: str, hole: str = "mask.png", out: str = "out", wanted: str = "keep") -> dict[str, str]:
    """Return results by photo."""
    jobs = plan([Path(image) for image in images or ("in",)], hole, Path(out), wanted).jobs
    return {str(job.image): str(job.out) for job in jobs}


def test_results_stand_in_a_tree_like_that_of_the_photos() -> None:
    assert made() == {"in/a.jpg": "out/a.jpg", "in/b.png": "out/b.png", "in/sub/c.gif": "out/sub/c.png"}
    assert set(made(wanted="jpg").values()) == {"out/a.jpg", "out/b.jpg", "out/sub/c.jpg"}


@pytest.mark.parametrize("out", ["in/filled", "./in/sub/../filled", "link", "{cwd}/in/filled"])
@pytest.mark.parametrize("folder", ["in", "./in", "{cwd}/in", "other"])
def test_results_within_the_folder_of_photos_are_not_taken_for_photos(tmp_path: Path, folder: str, out: str) -> None:
    Path("in/filled").mkdir()
    Path("link").symlink_to("in/filled")
    Path("other").symlink_to("in")
    folder, out = folder.format(cwd=tmp_path), out.format(cwd=tmp_path)
    first = made(folder, out=out)
    for result in first.values():
        touch(result)
    assert made(folder, out=out) == first
    assert len(first) == 3


@pytest.mark.parametrize("hole", ["in/mask.png", "in/masks", "in/sub/../masks"])
def test_masks_within_the_folder_of_photos_are_not_taken_for_photos(hole: str) -> None:
    touch("in/mask.png")
    touch("in/masks/a.png")
    photos = set(made(hole=hole))
    assert "in/a.jpg" in photos
    assert hole not in photos
    assert ("in/masks/a.png" in photos) == (hole == "in/mask.png")
    left_out = plan([Path("in")], hole, Path("out"), "keep").left_out
    assert left_out == ([Path("in/mask.png")] if hole == "in/mask.png" else [])


def test_masks_are_found_by_the_names_of_their_photos() -> None:
    for name in ("masks/a.png", "masks/b_mask.png", "masks/sub/c_hole001.png", "masks/sub/c_other.png"):
        touch(name)
    jobs = plan([Path("in")], "masks", Path("out"), "keep").jobs
    assert [str(job.hole) for job in jobs] == ["masks/a.png", "masks/b_mask.png", "masks/sub/c_hole001.png"]


def test_masks_may_stand_beside_their_photos() -> None:
    touch("in/a_mask.png")
    touch("in/b_mask.png")
    jobs = plan([Path("in")], "in", Path("out"), "keep").jobs
    assert [(job.image.name, str(job.hole)) for job in jobs[:2]] == [
        ("a.jpg", "in/a_mask.png"),
        ("b.png", "in/b_mask.png"),
    ]


@pytest.mark.parametrize(
    ("out", "place"), [("x.png", "x.png"), ("x.webp", "x.webp"), ("res.v2", "res.v2/a.jpg"), ("new", "new/a.jpg")]
)
def test_one_photo_goes_to_a_file_or_into_a_folder(out: str, place: str) -> None:
    Path("res.v2").mkdir()
    assert made("in/a.jpg", out=out) == {"in/a.jpg": place}


@pytest.mark.parametrize(
    ("name", "result"), [("p.jfif", "p.jfif"), ("q", "q.png"), ("s.v2", "s.v2.png"), ("t.svg", "t.svg.png")]
)
def test_any_name_of_a_photo_has_a_result(name: str, result: str) -> None:
    Path(name).write_bytes(b"")
    assert made(name) == {name: f"out/{result}"}


def test_standard_input_and_output_are_one_photo() -> None:
    assert plan([STANDARD], "alpha", STANDARD, "png").jobs == [Job(STANDARD, "alpha", STANDARD)]
    with pytest.raises(InputError, match="standard input"):
        plan([STANDARD, Path("in")], "alpha", Path("out"), "keep")
    with pytest.raises(InputError, match="standard input has no name"):
        plan([STANDARD], "alpha", Path("out"), "keep")


@pytest.mark.parametrize(
    ("hole", "out", "said"),
    [("gone.png", "out", "the mask gone.png does not exist"), ("alpha", "new.png", "several photos need a folder")],
)
def test_what_would_fail_for_each_photo_is_said_once(hole: str, out: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan([Path("in")], hole, Path(out), "keep")


def test_two_photos_of_one_result_are_refused() -> None:
    touch("in/b.gif")
    with pytest.raises(InputError, match="in/b.gif and in/b.png"):
        made()
    assert len(plan([Path("in")], "alpha", None, "keep").jobs) == 4  # nothing is written
