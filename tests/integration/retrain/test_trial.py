"""What a trial knows of the champion."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skimage.data
from PIL import Image

from stages.imaging.near import as_text, perceptual_hash
from stages.retrain import trial
from stages.tracking import store, versions
from tests.tracked import write_database

NAME = "inpaint-pconv"


def hashes_of(picture: Image.Image) -> str:
    return as_text(perceptual_hash(np.asarray(picture), turned=False).ravel().tolist())


def as_jpeg(picture: Image.Image) -> Image.Image:
    picture.save(buffer := BytesIO(), "JPEG", quality=50)
    return Image.open(buffer)


@pytest.mark.parametrize("said", ["sha and look", "sha", "nothing"])
def test_a_photograph_in_another_file_has_been_seen_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_database(tmp_path)
    (tmp_path / "params.yaml").write_text("prepare: {near_duplicate_bits: 6}")
    cat, coffee, rocket = (
        Image.fromarray(one()) for one in (skimage.data.cat, skimage.data.coffee, skimage.data.rocket)
    )
    tested = {
        "exact": hashes_of(cat),
        "encoded anew": hashes_of(as_jpeg(coffee.resize((300, 200)))),
        "new": hashes_of(rocket),
    }
    rows = [("test", sha, text) for sha, text in tested.items()] + [("train", "other", hashes_of(rocket))]
    (tmp_path / "data/prepared").mkdir(parents=True)
    table = pd.DataFrame(rows, columns=["split", "photo", "perceptual_hash"])
    table.to_parquet(tmp_path / "data/prepared/manifest.parquet")
    with store.reached():
        client = store.connect()
        run = client.create_run(store.experiment_id(client, "photographs")).info.run_id
        if said != "nothing":
            lines = [("exact", hashes_of(cat)), ("learned", hashes_of(coffee))]
            text = "".join(f"{' '.join(line if said == 'sha and look' else line[:1])}\n" for line in lines)
            client.log_text(run, text, versions.TRAINED_ON)
        client.create_registered_model(NAME)
        client.create_model_version(NAME, source=tmp_path.as_uri(), run_id=run)
    seen = trial.photographs_seen(tmp_path, versions.resolve(f"models:/{NAME}/1"))
    assert seen == {"sha and look": {"exact", "encoded anew"}, "sha": {"exact"}, "nothing": None}[said]
