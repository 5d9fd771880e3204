import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from stages import pair
from stages.data_size import choose_photos
from tests.clone import ROOT
from tests.evaluated import make_mask_set
from tests.project import make_project, tiny_params


def test_a_smaller_share_is_part_of_a_larger_one():
    photos = np.array([f"p{number % 30}" for number in range(300)], object)
    chosen = [set(choose_photos(photos, share, np.random.default_rng(5))) for share in (1 / 9, 1 / 3, 1)]
    assert [len(one) for one in chosen] == [3, 10, 30]
    assert chosen[0] < chosen[1] < chosen[2]


@pytest.mark.slow
@pytest.mark.skipif("INPAINT_LONG" not in os.environ, reason="six trainings take minutes: set INPAINT_LONG=1")
def test_the_experiment_trains_on_shares_and_leaves_scores(tmp_path, monkeypatch):
    params = tiny_params() | {"pairs": {"per_cell": 1, "gallery": 2}}
    params["evaluate"] = {"perceptual": True, "critic": 8, "lpips": False, "fid": False, "worst": 1}
    make_project(tmp_path, params)
    split_of = ["train"] * 10 + ["test"] * 6
    tiles = [{"id": f"t{n}", "split": split, "photo": f"photo{n}"} for n, split in enumerate(split_of)]
    pd.DataFrame(tiles).to_parquet(tmp_path / "data/prepared/manifest.parquet")
    make_mask_set(tmp_path / "data/masks")
    monkeypatch.chdir(tmp_path)
    pair.main()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "INPAINT_DEVICE": "cpu", "INPAINT_WORKERS": "1"}
    words = [sys.executable, "-m", "stages.data_size", "--steps", "4"]
    ran = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    scores = pd.read_csv("data/data_size/scores.csv")
    assert set(zip(scores["model"], scores["photos"], strict=True)) == {
        (model, photos) for model in ("pconv", "pix2pix") for photos in (1, 3, 10)
    }
    assert (scores.groupby(["model", "photos"]).size() == 12).all()
    assert json.loads(Path("data/data_size/record.json").read_text())["steps"] == 4
    assert not Path(".data_size").exists()
    assert yaml.safe_load(Path("params.yaml").read_text()) == params  # the project itself is as it was
