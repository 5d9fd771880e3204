"""Does more data help? Two models on shares of the training photographs: an experiment that `dvc repro` leaves out.

    python -m stages.data_size              # 3 shares x 2 models: six trainings
    python -m stages.data_size --steps 400  # shorter ones, of equal length again

Reads data/prepared and data/masks as `dvc repro` left them, and writes data/data_size: `scores.csv` (one row a pair,
model and number of photographs) and `record.json` (what was run). Every training has as many steps and the same
holes and sees prepared tiles only, no augmented ones, so that the number of photographs is all that differs; a smaller
share is a part of the larger one. What is trained already is not trained again, so it goes on where it was interrupted.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml

from stages.imaging.shards import Tiles, summary, write_tiles
from stages.runtime import files, guard, project
from stages.runtime.errors import InputError
from stages.runtime.log import log
from stages.runtime.params import PARAMS_FILE, read, read_seed

OUT = Path("data/data_size")
WORK = Path(".data_size")  # one folder a share, laid out as the project is; may be deleted at any time
SHARES = (1 / 9, 1 / 3, 1.0)
MODELS = {"pconv": "pconv", "pix2pix": "pix2pix"}  # the key in `train` and whose code
_SHARED = ("data/prepared/val", "data/prepared/test", "data/masks", "data/pairs.csv")


def choose_photos(photo_of_tile: npt.NDArray[np.object_], share: float, rng: np.random.Generator) -> list[str]:
    """Choose a share of the photos, at least one; of one generator's order, so that a larger share holds a smaller.

    Args:
        photo_of_tile: the photo of each training tile.
        share: of the photos, above 0, at most 1.
        rng: a fresh one of the same seed for every share.
    """
    photos = sorted(set(photo_of_tile))
    order = rng.permutation(len(photos))
    return sorted(photos[number] for number in order[: max(1, round(share * len(photos)))])


def lay_out(folder: Path, photos: Sequence[str], photo_of_tile: npt.NDArray[np.object_], steps: int) -> None:
    """Make a project folder whose training tiles are those of some photos; all else is the project's own."""
    rows = np.flatnonzero(np.isin(photo_of_tile, list(photos)))
    tiles = Tiles(["data/prepared/train"])
    with files.fresh_folder(folder / "data/prepared/train") as made:
        write_tiles(made, (tiles.gather(np.array([row]))[0] for row in rows))
    for shared in _SHARED:
        link = folder / shared
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(Path(shared).resolve())
    files.write_text(folder / PARAMS_FILE, yaml.safe_dump(_params(steps), sort_keys=False))


def _params(steps: int) -> dict[str, Any]:
    params: dict[str, Any] = yaml.safe_load(Path(PARAMS_FILE).read_text(encoding="utf-8"))
    params["models"] = {key: {"code": code, "tiles": "data/prepared/train"} for key, code in MODELS.items()}
    params["methods"] = {key: {"filled_by": f"data/models/{key}/model.onnx"} for key in MODELS}
    for key in MODELS:
        section = params["train"][key]
        section["steps"] = steps - section.get("finetune_steps", 0)
        section["decay_steps"] = min(section["decay_steps"], steps) if "decay_steps" in section else None
        params["train"][key] = {name: value for name, value in section.items() if value is not None}
    params["evaluate"] |= {
        "perceptual": False,
        "critic": 0,
        "lpips": False,
        "fid": False,
        "photographs": False,
        "worst": 0,
    }
    return params


def run_share(folder: Path, key: str) -> pd.DataFrame:
    """Train and score one model in a folder that `lay_out` made, unless that was done before.

    Raises:
        InputError: a training or an evaluation failed; its own message stands above.
    """
    given = files.sha256(folder / PARAMS_FILE) + summary(folder / "data/prepared/train")["digest"]
    mark = folder / f"{key}.done"
    if not mark.exists() or mark.read_text(encoding="utf-8") != given:
        for words in ([f"stages.{MODELS[key]}.train", key], ["stages.evaluate", key]):
            _run(folder, *words)
        files.write_text(mark, given)
    return pd.read_parquet(folder / f"data/evaluation/{key}/scores.parquet")


def _run(folder: Path, *words: str) -> None:
    root = str(Path(__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": root, "DVC_ROOT": str(folder.resolve())}
    environment.pop("MLFLOW_TRACKING_URI", None)  # these trainings are the experiment's own, not the project's runs
    ran = subprocess.run([sys.executable, "-m", *words], cwd=folder, env=environment, check=False)
    if ran.returncode:
        raise InputError(f"{' '.join(words)} failed in {folder} with exit code {ran.returncode}; see above")


def main(steps: int) -> None:
    """Train on every share, score, write what was found."""
    seed, started = read_seed(), time.time()
    manifest = pd.read_parquet("data/prepared/manifest.parquet")
    photo_of_tile = manifest.loc[manifest["split"] == "train", "photo"].to_numpy()
    found: list[pd.DataFrame] = []
    shares: dict[int, str] = {}
    for share in SHARES:
        photos = choose_photos(photo_of_tile, share, np.random.default_rng([seed, *b"data_size"]))
        folder = WORK / f"{len(photos)}_photos"
        lay_out(folder, photos, photo_of_tile, steps)
        shares[len(photos)] = summary(folder / "data/prepared/train")["digest"]
        for key in MODELS:
            scores = run_share(folder, key)
            found.append(scores[["pair", "photo", "hole_psnr", "sharpness"]].assign(model=key, photos=len(photos)))
            log(f"data_size: {key} on {len(photos)} photographs: hole PSNR {scores['hole_psnr'].mean():.2f} dB")
    if len(shares) < len(SHARES):
        raise InputError(
            f"there are only {len(set(photo_of_tile))} training photographs, too few for {len(SHARES)} shares"
        )
    commit, dirty = project.commit()
    record = {"commit": commit, "dirty": dirty, "steps": steps, "seconds": round(time.time() - started)}
    files.write_csv(OUT / "scores.csv", pd.concat(found).round(4))
    tiles = {str(number): digest for number, digest in shares.items()}
    files.write_json(OUT / "record.json", record | {"tiles": tiles, "pairs": files.sha256("data/pairs.csv")})
    shutil.rmtree(WORK)
    log(f"{OUT}/scores.csv: dvc repro takes it into the report")


def _default_steps() -> int:
    section = read("train.pconv", dict[str, Any])
    return int(section["steps"] + section.get("finetune_steps", 0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train on shares of the photographs, for equally many steps.")
    parser.add_argument("--steps", type=int, help="of every training; as many as PConvNet's, if not said")
    given = parser.parse_args()
    sys.exit(guard.run("data_size", lambda: main(given.steps or _default_steps())))
