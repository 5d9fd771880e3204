import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.evaluate.__main__ import export, main, score_folder
from stages.inpainting import classical
from stages.report.reading import read_evaluations
from stages.runtime.errors import InputError, ParamsError
from tests.factories import make_evaluation_project


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_evaluation_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        export("exported")
    return folder


@pytest.fixture
def project(made, tmp_path, monkeypatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INPAINT_WORKERS", "1")
    return tmp_path


def answer(method: str) -> None:
    """Do what another tool would: read image and hole, write a picture of the same name."""
    Path("answers").mkdir()
    for path in sorted(Path("exported/images").iterdir()):
        hole = np.asarray(Image.open(Path("exported/holes") / path.name)) > 127
        image = np.asarray(Image.open(path))
        assert not image[hole].any()
        filled = classical.fill(method, image, hole.astype(np.uint8))
        Image.fromarray(np.round(255 * filled).astype(np.uint8)).save(Path("answers") / path.name)


def answer_photographs(grey: int) -> None:
    """Do what a tool would that knows one answer, and cares for no known pixel."""
    Path("answers/photographs").mkdir()
    for path in sorted(Path("exported/photographs/images").iterdir()):
        hole = np.asarray(Image.open(Path("exported/photographs/holes") / path.name)) > 127
        assert not np.asarray(Image.open(path))[hole].any()
        Image.new("RGB", hole.shape[::-1], (grey, grey, grey)).save(Path("answers/photographs") / path.name)


def test_a_tools_answers_score_as_the_same_method_does_here(project):
    answer("telea")
    score_folder("their_telea", "answers")
    main("telea")
    theirs, ours = (pd.read_parquet(f"data/evaluation/{key}/scores.parquet") for key in ("their_telea", "telea"))
    assert theirs["pair"].to_list() == ours["pair"].to_list()
    assert theirs["hole_psnr"].to_numpy() == pytest.approx(ours["hole_psnr"].to_numpy(), abs=0.2)  # 8 bits
    assert theirs["milliseconds"].isna().all()
    found = read_evaluations(Path("data/evaluation"), {"telea": classical.__file__})
    assert [(one.key, one.trained) for one in found] == [("telea", False), ("their_telea", False)]
    assert len(pd.read_parquet("data/evaluation/their_telea/photographs.parquet")) == 0  # it answered none


def test_a_tools_answers_to_photographs_are_scored_in_the_holes_alone(project):
    answer("mean")
    answer_photographs(128)
    score_folder("theirs", "answers")
    scores = pd.read_parquet("data/evaluation/theirs/photographs.parquet")
    assert scores["id"].to_list() == pd.read_csv("data/photographs/photographs.csv")["id"].to_list()
    assert not scores["detail"].any()
    assert (scores["psnr"] > scores["hole_psnr"]).all()
    name = scores["id"].iloc[0]
    hole = np.asarray(Image.open(f"data/photographs/holes/{name}.png")) > 0
    composite = np.asarray(Image.open(f"data/evaluation/theirs/photographs/{name}.png"))
    assert (composite[hole] == 128).all()
    assert np.array_equal(composite[~hole], np.asarray(Image.open(f"data/photographs/images/{name}.png"))[~hole])


def test_what_is_exported_says_which_pairs_they_are_and_holds_no_target(project):
    pairs = pd.read_csv("exported/pairs.csv")
    assert sorted(path.name for path in Path("exported").iterdir()) == ["holes", "images", "pairs.csv", "photographs"]
    assert sorted(path.stem for path in Path("exported/images").iterdir()) == sorted(pairs["pair"])
    photographs = pd.read_csv("exported/photographs/photographs.csv")
    files = sorted(path.name for path in Path("exported/photographs").iterdir())
    assert files == ["holes", "images", "photographs.csv"]
    assert sorted(path.stem for path in Path("exported/photographs/images").iterdir()) == sorted(photographs["id"])


def test_a_missing_answer_is_named(project):
    answer("mean")
    Path("answers/30b0001.png").unlink()
    with pytest.raises(InputError, match="30b0001"):
        score_folder("theirs", "answers")
    assert not Path("data/evaluation/theirs").exists()


def test_an_answer_of_another_size_is_named(project):
    answer("mean")
    Image.new("RGB", (20, 12)).save("answers/30b0001.png")
    with pytest.raises(InputError, match="30b0001.png is 20 x 12 pixels"):
        score_folder("theirs", "answers")


def test_a_name_that_is_taken_and_a_folder_that_is_none_are_refused(project):
    with pytest.raises(ParamsError, match="has a row telea already"):
        score_folder("telea", "exported")
    with pytest.raises(ParamsError, match="of letters, digits"):
        score_folder("a/b", "exported")
    with pytest.raises(InputError, match="nowhere is no folder"):
        score_folder("theirs", "nowhere")
