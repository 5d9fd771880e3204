import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from stages.evaluate import filling
from stages.evaluate.__main__ import main
from stages.evaluate.filling import Questions, choose_filler
from stages.imaging.holes import MaskSet
from stages.imaging.shards import Tiles
from stages.inpainting import classical, exported
from stages.runtime.errors import InputError, ParamsError
from tests.factories import TILE


class Brightener(torch.nn.Module):
    """An answer that depends on the picture and on nothing else."""

    def forward(self, image: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
        return 0.5 * image + 0.3 * hole


def scores_of(key: str) -> pd.DataFrame:
    return pd.read_parquet(f"data/evaluation/{key}/scores.parquet")


def test_grey_answers_score_as_grey(project):
    main("grey_net")
    scores = scores_of("grey_net")
    targets = Tiles(["data/prepared/test"]).gather(scores["tile_row"].to_numpy())
    holes = MaskSet("data/masks/test.npy").gather(scores["hole_row"].to_numpy()).astype(bool)
    errors = [np.abs(target[hole] / 255 - 0.5).mean() for target, hole in zip(targets, holes, strict=True)]
    assert scores["hole_l1_percent"].to_numpy() == pytest.approx(100 * np.array(errors), rel=1e-5)
    assert scores["ratio"].to_numpy() == pytest.approx(holes.mean(axis=(1, 2)))
    summary = json.loads(Path("data/evaluation/grey_net/summary.json").read_text())
    assert summary["hole_l1_percent"] == pytest.approx(100 * np.mean(errors), rel=1e-5)
    assert pd.read_csv("data/evaluation/grey_net/by_ratio.csv")["holes"].iloc[1] == "10-20 %"


def test_every_method_gets_the_same_pairs_and_pictures(project):
    main("telea")
    main("grey_net")
    same = ["pair", "sha256", "tile", "tile_row", "hole_row", "photo", "kind", "ratio", "bucket", "border"]
    assert scores_of("telea")[same].equals(scores_of("grey_net")[same])
    names = [
        sorted(path.name for path in Path(f"data/evaluation/{key}/pictures").iterdir()) for key in ("telea", "grey_net")
    ]
    assert names[0] == names[1]
    assert len(names[0]) == 12


def test_as_many_pairs_as_the_params_say_are_shown_to_a_critic(project):
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("critic: 0", "critic: 12"))
    main("grey_net")
    told = scores_of("grey_net")["told_apart"]
    assert told.iloc[:12].notna().all()
    assert told.iloc[12:].isna().all()
    summary = json.loads(Path("data/evaluation/grey_net/summary.json").read_text())
    assert summary["told_apart"] == told.mean()


def test_pictures_are_the_composites_of_their_rows(project):
    main("grey_net")
    scores = scores_of("grey_net")
    for path in Path("data/evaluation/grey_net/pictures").iterdir():
        pair = scores.iloc[[int(path.stem)]]
        target = Tiles(["data/prepared/test"]).gather(pair["tile_row"].to_numpy())[0]
        hole = MaskSet("data/masks/test.npy").gather(pair["hole_row"].to_numpy())[0].astype(bool)
        picture = np.asarray(Image.open(path))
        assert np.array_equal(picture[~hole], target[~hole])
        assert (picture[hole] == 128).all()


def test_the_size_of_chunks_changes_nothing(project, monkeypatch):
    main("telea")
    alone = scores_of("telea").drop(columns="milliseconds")
    monkeypatch.setattr("stages.evaluate.evaluation.CHUNK_BYTES", 7 * 4 * 3 * TILE**2)
    main("telea")
    pd.testing.assert_frame_equal(scores_of("telea").drop(columns="milliseconds"), alone, rtol=1e-4)


def test_a_method_never_sees_what_it_is_to_make_up(project):
    """The answer is half of what the model sees and 0.3 of the hole: 0.3 in the holes, if they are zeroed."""
    exported.save(Brightener(), "data/models/grey_net/model.pt2", 2, {})
    main("grey_net")
    path = next(Path("data/evaluation/grey_net/pictures").iterdir())
    rows = scores_of("grey_net").iloc[[int(path.stem)]]["hole_row"].to_numpy()
    hole = MaskSet("data/masks/test.npy").gather(rows)[0].astype(bool)
    assert (np.asarray(Image.open(path))[hole] == 76).all()  # 0.3 x 255


def test_the_size_of_batches_changes_nothing(project, monkeypatch):
    exported.save(Brightener(), "model.pt2", 2, {})
    images = np.random.default_rng(0).integers(0, 256, (7, TILE, TILE, 3)).astype(np.uint8)
    holes = np.zeros((7, TILE, TILE), np.uint8)
    holes[:, 3:9, 5:] = 1
    fill = choose_filler("other", "model.pt2", TILE)
    questions = Questions(list("abcdefg"), images, holes)
    together, milliseconds = fill(questions)
    monkeypatch.setattr(filling, "BATCH_SIZE", 3)
    assert np.array_equal(fill(questions)[0], together)
    assert together.shape == (7, TILE, TILE, 3)
    assert milliseconds.shape == (7,)
    assert (milliseconds > 0).all()


def test_a_missing_model_says_how_to_get_it():
    with pytest.raises(InputError, match=r"methods.pconv: nowhere/model.pt2 is missing; run dvc repro"):
        choose_filler("pconv", "nowhere/model.pt2", TILE)


def test_a_key_that_is_no_classical_method_is_named_with_those_there_are():
    with pytest.raises(ParamsError, match=r"methods.median.*classical method.*mean, telea"):
        choose_filler("median", classical.__file__, TILE)


def test_a_model_for_other_sizes_is_refused(project):
    with pytest.raises(InputError, match="`tile_size` is 18"):
        choose_filler("grey_net", "data/models/grey_net/model.pt2", 18)


def test_an_unknown_key_is_a_params_error(project):
    with pytest.raises(ParamsError, match=r"`methods.tela` is missing; did you mean `telea`"):
        main("tela")


def test_missing_pairs_say_what_to_run(project):
    Path("data/pairs.csv").unlink()
    with pytest.raises(InputError, match=r"data/pairs.csv is missing; run dvc repro pair"):
        main("mean")


def test_the_command_says_which_key_it_wants(project):
    ran = subprocess.run(
        [sys.executable, "-m", "stages.evaluate"],
        cwd=Path(classical.__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "usage: python -m stages.evaluate KEY" in ran.stderr
