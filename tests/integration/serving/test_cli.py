"""The command as people type it: photos and folders, what is said of bad ones, exit codes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from typer.testing import CliRunner

from stages.inpainting.challenge import hole_of
from stages.inpainting.cropping import Settings, detail
from stages.inpainting.inpainter import load
from stages.runtime.errors import InputError
from stages.serving.cli import app, main
from tests.clone import ROOT
from tests.tracked import wait_for

H, W = 60, 90
RUN = ["--model", "telea"]


def photo(seed: int = 0) -> np.ndarray:
    rows, columns = np.mgrid[0:H, 0:W]
    return np.stack([2 * columns, 3 * rows, (seed * 40 + rows + columns) % 256], axis=2).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos of several kinds in a tree, one damaged, and a hole for all."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos/trip").mkdir(parents=True)
    Image.fromarray(photo(0)).save("photos/a.png")
    Image.fromarray(photo(1)).save("photos/a.jpg", quality=95)
    Image.fromarray(photo(2)).save("photos/trip/b.webp", lossless=True)
    Path("photos/bad.jpg").write_bytes(b"no picture")
    hole = np.zeros((H, W), np.uint8)
    hole[20:30, 40:60] = 255
    Image.fromarray(hole).save("hole.png")
    return tmp_path


def inpaint(*words: str) -> tuple[int, str, str]:
    """Run the command in this process; return its exit code and what it wrote to stdout and stderr."""
    result = CliRunner().invoke(app, words, prog_name="inpaint")
    if isinstance(result.exception, Exception) and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def opened(path: str) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
        return picture


def main_with(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["inpaint", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_one_photo(folder: Path) -> None:
    assert inpaint("run", "photos/a.png", "hole.png", "-o", "out/filled.png", *RUN) == (
        0,
        "1 done: out/filled.png by telea (at full size)\n",
        "",
    )
    filled, before = np.array(opened("out/filled.png")), photo(0)
    assert (filled != before).any(axis=2)[20:30, 40:60].any()
    filled[20:30, 40:60] = before[20:30, 40:60]
    assert np.array_equal(filled, before)


def test_a_folder_becomes_a_tree_like_it_and_a_bad_file_costs_only_itself(folder: Path) -> None:
    code, said, wrong = inpaint("run", "photos", "hole.png", "-o", "out", "--report", "report.json", *RUN)
    assert (code, said) == (1, "3 done in out by telea (at full size), 1 failed\n")
    assert "photos/bad.jpg: not a picture in a supported format" in wrong
    made = sorted(str(path.relative_to("out")) for path in Path("out").rglob("*.*"))
    assert made == ["a.jpg", "a.png", "trip/b.webp"]
    report = json.loads(Path("report.json").read_text())
    assert report["counts"] == {"done": 3, "skipped": 0, "failed": 1, "left_out": 0}
    assert report["model"]["name"] == "telea"
    assert {Path(each["image"]).name: each["status"] for each in report["files"]}["bad.jpg"] == "failed"


def test_scale_and_copied_texture_are_said(folder: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (800, 900, 3), np.uint8)).save("large.png")
    words = ("run", "large.png", "100,100,700,700", "-o", "out.png", "--model", "mean")
    assert inpaint(*words)[:2] == (0, "1 done: out.png by mean (at scale 0.25)\n")
    assert inpaint(*words, "--detail")[:2] == (0, "1 done: out.png by mean (at scale 0.25, with copied texture)\n")
    assert inpaint(*words, "--detail", "--no-detail")[:2] == (0, "1 done: out.png by mean (at scale 0.25)\n")


def test_a_hole_that_leaves_hardly_anything_is_filled_and_said_to_be_one(folder: Path) -> None:
    code, said, wrong = inpaint("run", "photos/a.png", f"0,0,{W},{H}", "-o", "out.png", *RUN)
    assert (code, said) == (1, "1 done: out.png by telea (at full size)\n")
    assert "100.0% of the picture is missing: hardly anything to fill it from" in wrong
    assert np.array(opened("out.png")).shape == (H, W, 3)


def test_after_an_interruption_only_the_rest_is_done(folder: Path) -> None:
    inpaint("run", "photos/a.png", "hole.png", "-o", "out", *RUN)
    before = Path("out/a.png").stat().st_mtime_ns
    code, said, _ = inpaint("run", "photos", "hole.png", "-o", "out", "--resume", *RUN)
    assert (code, said) == (1, "2 done in out by telea (at full size), 1 skipped, 1 failed\n")
    assert Path("out/a.png").stat().st_mtime_ns == before


def test_it_stops_at_the_first_bad_file_where_that_is_wanted(folder: Path) -> None:
    Path("photos/0.jpg").write_bytes(b"")
    assert inpaint("run", "photos", "hole.png", "-o", "out", "--on-error", "stop", *RUN)[:2] == (2, "1 failed\n")
    assert not Path("out").exists()


def test_each_photo_has_its_own_hole_in_a_folder_of_holes(folder: Path) -> None:
    Path("holes/trip").mkdir(parents=True)
    opened("hole.png").save("holes/a.png")
    opened("hole.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save("holes/trip/b.png")
    code, said, wrong = inpaint("run", "photos", "holes", "-o", "out", *RUN)
    assert (code, said) == (1, "3 done in out by telea (at full size), 1 failed\n")
    filled = np.asarray(opened("out/trip/b.webp"))
    assert np.array_equal(filled[:, 55:], photo(2)[:, 55:])
    assert "bad.jpg" in wrong


@pytest.mark.parametrize(("hole", "share"), [("10,5,20,15", 100), ("10,5,20,15 40,40,50,50", 200), ("alpha", 50)])
def test_holes_by_numbers_and_by_transparency(folder: Path, hole: str, share: int) -> None:
    alpha = np.full((H, W), 255, np.uint8)
    alpha[10:15, 10:20] = 0
    Image.fromarray(np.dstack([photo(), alpha])).save("clear.png")
    code, said, _ = inpaint("run", "clear.png", hole, "-o", "out.png", "--json", *RUN)
    assert code == 0
    assert json.loads(said)["files"][0]["hole_share"] == pytest.approx(share / (H * W), abs=1e-6)
    if hole == "alpha":
        assert opened("out.png").mode == "RGB"  # nothing is transparent any more


def test_a_hole_and_a_photo_that_a_camera_turned(folder: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(photo()).save("turned.png", exif=exif.tobytes())
    opened("hole.png").save("turned_hole.png", exif=exif.tobytes())
    assert inpaint("run", "turned.png", "turned_hole.png", "-o", "out.png", *RUN)[0] == 0
    assert opened("out.png").size == (H, W)
    assert inpaint("run", "turned.png", "hole.png", "-o", "out.png", *RUN)[0] == 2


def test_before_hole_and_after_side_by_side(folder: Path) -> None:
    assert inpaint("run", "photos/a.png", "hole.png", "-o", "out.png", "--concat", *RUN)[0] == 0
    panels = np.asarray(opened("out.png"))
    assert panels.shape == (H, 3 * W, 3)
    assert np.array_equal(panels[:, :W], photo())
    assert (panels[25, W + 50] == 255).all()


def test_check_looks_and_writes_nothing(folder: Path) -> None:
    Image.fromarray(255 - np.asarray(opened("hole.png"))).save("inverse.png")
    code, said, wrong = inpaint("check", "photos/a.png", "inverse.png")
    assert (code, said) == (0, "photos/a.png: 90 x 60 pixels, 96.30% missing, by brightness (white is missing)\n")
    assert "is white the hole, or black?" in wrong
    assert inpaint("check", "photos", "hole.png")[0] == 1
    assert sorted(path.name for path in folder.iterdir()) == ["hole.png", "inverse.png", "photos"]


def test_the_challenges_table_has_every_pixel_of_every_box(folder: Path) -> None:
    picture = np.repeat(np.repeat(photo(), 4, axis=0), 4, axis=1)
    Path("pictures").mkdir()
    Image.fromarray(picture).save("pictures/7.png")
    Path("info.csv").write_text("filename,a,b,c,d\n7.png,10,20,120,200\n")
    assert inpaint("challenge", "pictures", "info.csv", *RUN)[:2] == (
        0,
        f"submission.csv: {2 * 75 * 75 * 3} lines, 1 pictures\n",
    )
    filled = load("telea")(picture, hole_of(((10, 20), (120, 200)), picture.shape[:2]).astype(bool), Settings())[0]
    lines = dict(line.rsplit(",", 1) for line in Path("submission.csv").read_text().splitlines()[1:])
    assert float(lines["7.png_box2_150_230_1"]) == pytest.approx(filled[150, 230, 1] / 255, abs=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "nowhere", "hole.png", "-o", "out"], "nowhere does not exist; expected a photo"),
        (["run", "photos/trip", "hole.png", "-o", "out", "--model", "nothing"], "no model at nothing: give a folder"),
        (["run", "photos/a.png", "hole.png", "-o", "photos/a.png"], "is the photo itself"),
        (["run", "photos", "hole.png", "-o", "out", "--format", "png"], "would both become out/a.png; rename one"),
        (["run", "photos/a.png", "hole.png", "-o", "hole.png"], "hole.png is the mask picture"),
        (["run", "photos", "hole.png", "-o", "photos"], "photos is the folder of the photos"),
        (["run", "photos/a.png", "hole.png", "-o", "x.gif"], "x.gif: results can be JPEG, PNG"),
        (["run", "photos/a.png", "hole.png", "-o", "x.v2"], "x.v2: results can be JPEG"),
        (["run", "photos/a.png", "hole.png", "-o", "x.jpg", "--format", "png"], "x.jpg: --format is png"),
        (["run", "photos", "hole.png", "-o", "hole.png"], "hole.png is the name of one picture"),
        (["run", "photos", "hole.png", "-o", "-"], "standard output takes one photo"),
        (
            ["run", "photos/a.png", "hole.png", "-o", "o", "--report", "hole.png/r.json", *RUN],
            "written to hole.png/r.json",
        ),
        (["run", "photos/a.png", "hole.png", "-o", "hole.png/o.png", *RUN], "hole.png: File exists"),
        (["run", "photos/a.png", "hole.png", "-o", "out", "--max-side", "7"], "`max_side` should be 0 or at least 64"),
        (["run", "photos/a.png", "hole.png", "-o", "o", "--model", "models:/x@y"], "models:/x@y is not registered"),
    ],
)
def test_what_cannot_be_done_is_said_without_a_traceback(
    folder: Path, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_with(words, monkeypatch) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["p.jfif", "no_suffix", "a.svg", "a.heic", "a.pdf", "caf\udce9.png"])
def test_files_of_any_name_are_read_by_what_they_hold(folder: Path, name: str) -> None:
    """A picture is filled; of all else one sentence is said, and the exit code is 2: nothing could be done."""
    is_picture = name not in ("a.svg", "a.heic", "a.pdf")
    Path(name).write_bytes(Path("photos/a.png").read_bytes() if is_picture else b"<svg/>")
    code, _, wrong = inpaint("run", name, "hole.png", "-o", "out", "--report", "r.json", *RUN)
    (entry,) = json.loads(Path("r.json").read_text())["files"]
    assert (code, entry["status"]) == ((0, "done") if is_picture else (2, "failed"))
    assert ("not a picture in a supported format" in wrong) != is_picture
    assert inpaint("check", name, "hole.png")[0] == code


def test_files_of_a_folder_that_are_no_photos_are_counted_and_named(folder: Path) -> None:
    Path("photos/bad.jpg").unlink()
    for name in ("notes.txt", "trip/s.svg", ".hidden", "no_suffix"):
        (Path("photos") / name).write_bytes(b"x")
    code, said, wrong = inpaint("run", "photos", "hole.png", "-o", "out", *RUN)
    assert (code, said) == (0, "3 done in out by telea (at full size), 3 left out\n")
    assert "photos/no_suffix, photos/notes.txt, photos/trip/s.svg" in wrong
    assert "photos/notes.txt" in inpaint("check", "photos", "hole.png")[2]


def test_several_inputs_go_into_one_folder_that_is_made(folder: Path) -> None:
    code, said, _ = inpaint("run", "photos/a.png", "photos/trip", "hole.png", "-o", "new/folder", *RUN)
    assert (code, said) == (0, "2 done in new/folder by telea (at full size)\n")
    assert sorted(path.name for path in Path("new/folder").iterdir()) == ["a.png", "b.webp"]


def test_standard_input_and_output(folder: Path) -> None:
    inpaint("run", "photos/a.png", "hole.png", "-o", "filled.png", *RUN)
    command = [Path(sys.executable).parent / "inpaint", "run", "-", "hole.png", "-o", "-", *RUN]
    done = subprocess.run(command, input=Path("photos/a.png").read_bytes(), capture_output=True, check=True)
    assert done.stdout == Path("filled.png").read_bytes()
    assert done.stderr == b"1 done: - by telea (at full size)\n"


def test_several_workers_fill_as_one_does(folder: Path) -> None:
    inpaint("run", "photos", "hole.png", "-o", "one", *RUN)
    code, said, _ = inpaint("run", "photos", "hole.png", "-o", "two", "--workers", "2", *RUN)
    assert (code, said) == (1, "3 done in two by telea (at full size), 1 failed\n")
    for path in Path("one").rglob("*.*"):
        assert path.read_bytes() == (Path("two") / path.relative_to("one")).read_bytes()


def test_photos_that_come_are_filled_until_interrupted(folder: Path) -> None:
    command = [Path(sys.executable).parent / "inpaint", "run", "photos", "hole.png", "-o", "out", "--watch", *RUN]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it, as do its children
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        try:
            wait_for(lambda: len(list(Path("out").rglob("*.*"))) == 3, 30)
            Path("photos/late.png").write_bytes(Path("photos/a.png").read_bytes())
            wait_for(Path("out/late.png").exists, 30)
        finally:
            watching.send_signal(signal.SIGINT)
        said, _ = watching.communicate(timeout=30)
        assert watching.returncode == 1  # one photo is damaged
        assert b"photos/late.png: filled, out/late.png" in said
        assert said.decode().splitlines()[-1].startswith("4 done in out by telea")


def test_help_comes_at_once_and_without_torch(tmp_path: Path) -> None:
    program = (
        "import sys, stages.serving.cli as cli; cli.app(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    loaded = said.strip().rpartition("\n")[2]
    assert "'typer'" in loaded
    assert not [name for name in ("torch", "numpy", "mlflow", "onnxruntime", "fastapi", "PIL") if f"'{name}'" in loaded]


def test_the_installed_command_answers(folder: Path) -> None:
    command = Path(sys.executable).parent / "inpaint"
    done = subprocess.run(
        [command, "check", "photos/a.png", "hole.png"], capture_output=True, text=True, check=False, env=os.environ
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_package_that_is_missing_is_named_once_for_all_photos(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "patchmatch", None)
    detail.problem.cache_clear()
    try:
        words = ("run", "photos", "10,10,50,50", "-o", "out", "--detail", *RUN)
        assert inpaint(*words)[2].count("pip install pypatchmatch") == 1
    finally:
        detail.problem.cache_clear()


def test_a_key_that_is_not_there_is_said_in_words() -> None:
    with pytest.raises(InputError, match="nope"):
        inpaint("serve", "--api-key-file", "nope")


@pytest.mark.parametrize(
    "words",
    ["model list", "model show models:/a@champion", "model ledger", "run photos hole.png -o out", "serve", "tidy"],
)
def test_no_message_has_the_password_of_mlflows_address(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://bob:se%40cret@127.0.0.1:9")
    shutil.copy(ROOT / "params.yaml", folder)
    assert main_with(words.split(), monkeypatch) == 2
    said = capsys.readouterr().err
    assert "***@127.0.0.1:9" in said
    assert "bob" not in said
    assert "cret" not in said
