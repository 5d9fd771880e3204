"""Score one method on both tests: data/pairs.csv with its tiles and holes, data/photographs -> data/evaluation/KEY.

    python -m stages.evaluate pconv                       # as DVC does, KEY being a row of `methods`
    python -m stages.evaluate --export-pairs DIR          # the pairs as pictures, for another tool
    python -m stages.evaluate --method-folder NAME=DIR    # score that tool's answers

Writes `scores.parquet` (one row per pair), `summary.json` (means), `by_ratio.csv` (means by hole ratio), `pictures/`
and `worst/` (composites of the pairs in the report and of those with the lowest hole PSNR, named by their row),
`photographs.parquet` (one row per photograph, and another without copied texture) and `photographs/` (the composites in
the report). A method whose package is not installed has no rows; `summary.json` names the package. `--method-folder`
also writes `method.json`, which adds the method to the report; a folder in `filled_by` of `methods` needs none.
"""

import re
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from pydantic import Field

from stages.evaluate.evaluation import Measures, Outcome, PairTest, Subject, evaluate
from stages.evaluate.exchange import export_pairs, export_photographs
from stages.evaluate.filling import lacking
from stages.evaluate.means import by_ratio, summarise
from stages.evaluate.photographs import (
    FOLDER,
    PhotographOutcome,
    evaluate_photographs,
    no_photographs,
    read_questions,
    summarise_photographs,
)
from stages.imaging.holes import MaskSet
from stages.imaging.shards import Tiles
from stages.runtime import files, guard, machine
from stages.runtime.errors import InputError, ParamsError
from stages.runtime.log import log
from stages.runtime.params import Settings, read

TILES, HOLES = Path("data/prepared/test"), Path("data/masks/test.npy")

USAGE = """\
usage: python -m stages.evaluate KEY                        KEY is one of `methods` in params.yaml
       python -m stages.evaluate --export-pairs DIR         write the test pairs as pictures into DIR
       python -m stages.evaluate --method-folder NAME=DIR   score the answers in DIR under NAME"""


class EvaluateParams(Settings):
    """The section `evaluate` of params.yaml.

    Attributes:
        perceptual: whether to compute the perceptual distance (features of EfficientNet-Lite0), and the lattice.
        critic: pairs to train and test a critic on, from 0 (none).
        lpips: whether to compute LPIPS, whose weights are downloaded.
        fid: whether to compute FID, whose weights are downloaded.
        photographs: whether to fill and score whole photographs, too.
        worst: worst predictions per method for the report, 0 to 1000.
    """

    perceptual: bool
    critic: int = Field(ge=0)
    lpips: bool
    fid: bool
    photographs: bool
    worst: int = Field(ge=0, le=1000)


class MethodParams(Settings):
    """One row of `methods` in params.yaml; `filled_by` is a model, `classical.py` or a folder of predictions."""

    filled_by: str


def main(key: str) -> None:
    """Score one method of params.yaml."""
    _evaluate(key, read(f"methods.{key}", MethodParams).filled_by)


def score_folder(name: str, folder: str) -> None:
    """Score the answers in a folder, under a name that is not in `methods`."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ParamsError(f"a method's name should be of letters, digits, _ and -, but is {name!r}")
    if name in read("methods", dict[str, MethodParams]):
        raise ParamsError(f"`methods` in params.yaml has a row {name} already; give the folder another name")
    if not Path(folder).is_dir():
        raise InputError(f"{folder} is no folder; it should hold a picture for every pair, named by the pair")
    _evaluate(name, folder)
    if read("evaluate.photographs", bool) and not (Path(folder) / "photographs").is_dir():
        log(f"{folder} has no folder photographs, so {name} is not in that test")
    files.write_json(Path("data/evaluation") / name / "method.json", {"filled_by": folder})
    log("dvc repro report (or python -m stages.report) takes it into the table")


def export(folder: str) -> None:
    """Write the pairs, and the photographs, as pictures."""
    pairs = _read_pairs()
    export_pairs(Path(folder), pairs, Tiles([TILES]), MaskSet(HOLES))
    log(f"{folder}: {len(pairs)} pictures in images/, their holes (white) in holes/; answers go by the same names")
    if read("evaluate.photographs", bool):
        questions = read_questions(FOLDER)
        export_photographs(Path(folder) / "photographs", questions, FOLDER)
        log(f"{folder}/photographs: {len(questions)} photographs likewise; answers go into a folder photographs")


def _read_pairs() -> pd.DataFrame:
    try:
        return pd.read_csv("data/pairs.csv")
    except FileNotFoundError:
        raise InputError("data/pairs.csv is missing; run dvc repro pair") from None


def _evaluate(key: str, filled_by: str) -> None:
    machine.keep_to_cores()
    params = read("evaluate", EvaluateParams)
    pairs = _read_pairs()
    questions = read_questions(FOLDER) if params.photographs else pd.DataFrame({"id": []})
    if reason := lacking(key, filled_by):
        nothing = Outcome(pairs.iloc[:0], {}, {})
        reason += f"; then dvc repro -f -s evaluate@{key} report"  # DVC does not see what is installed
        _write(Path("data/evaluation") / key, nothing, no_photographs(questions), {"missing": reason})
        log(f"{key} is left out: {reason}")
        return
    measures = Measures(params.perceptual, params.lpips, params.fid, params.critic)
    subject = Subject(key, str(Path(filled_by).absolute()), measures)  # absolute, for workers of a cluster
    local = subject.budget()
    outcome = evaluate(subject, PairTest(TILES.absolute(), HOLES.absolute(), params.worst), pairs, local)
    summary: dict[str, float | str] = {**summarise(outcome.scores)}
    if outcome.fid is not None:
        summary["fid"] = outcome.fid
    photographs = no_photographs(questions)
    if params.photographs:
        photographs = evaluate_photographs(subject, questions, local)
    summary |= summarise_photographs(photographs.scores)
    _write(Path("data/evaluation") / key, outcome, photographs, summary)
    speed = f", {summary['ms']:.1f} ms a picture" if "ms" in summary else ""
    log(f"{key}: hole PSNR {summary['hole_psnr']:.2f} dB, SSIM {summary['ssim']:.4f}{speed}")
    if "photo_hole_psnr" in summary:
        scored = f"hole PSNR {summary['photo_hole_psnr']:.2f} dB, sharpness {summary['photo_sharpness']:.2f}"
        log(f"{key}: on photographs {scored}")


def _write(out: Path, outcome: Outcome, photographs: PhotographOutcome, summary: dict[str, float | str]) -> None:
    with files.fresh_folder(out) as folder:
        files.write_parquet(folder / "scores.parquet", outcome.scores)
        files.write_parquet(folder / "photographs.parquet", photographs.scores)
        files.write_csv(folder / "by_ratio.csv", by_ratio(outcome.scores))
        _save(folder / "pictures", {f"{row:05d}": picture for row, picture in outcome.shown.items()})
        _save(folder / "worst", {f"{row:05d}": picture for row, picture in outcome.worst.items()})
        _save(folder / "photographs", photographs.shown)
        files.write_json(folder / "summary.json", summary)


def _save(folder: Path, pictures: dict[str, npt.NDArray[np.uint8]]) -> None:
    folder.mkdir()
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / f"{name}.png")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--export-pairs", folder]:
            sys.exit(guard.run("export", lambda: export(folder)))
        case ["--method-folder", given] if "=" in given:
            name, _, folder = given.partition("=")
            sys.exit(guard.run(f"evaluate@{name}", lambda: score_folder(name, folder)))
        case [key] if not key.startswith("-"):
            sys.exit(guard.run(f"evaluate@{key}", lambda: main(key)))
        case _:
            sys.exit(USAGE)
