"""Write the report: data/evaluation, data/training and the pictures behind them -> data/report.

    python -m stages.report

Files in data/report:

    index.html                         the page; pictures beyond 10 MiB are in `pictures` beside it
    photographs.html, holes.html,
    altered_tiles.html                 copies of the data reports
    photographs.csv, scores.csv        scores by method: photograph test, tile test
    differences.csv                    paired differences between methods, with intervals
    methods/KEY/photographs.jpg        per photograph: original, hole, fill, fill without copied texture
    metrics.json                       the few numbers of `dvc metrics` and `dvc exp show`
    gain_by_ratio.csv, validation.csv,
    loss.csv                           for `dvc plots`
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from stages.comparing.bootstrap import Resamples
from stages.imaging.holes import MaskSet
from stages.imaging.shards import Tiles
from stages.inpainting import classical
from stages.report import comparison, photographs, tables
from stages.report.album import Album
from stages.report.claims import find_claims
from stages.report.page import Content, render
from stages.report.pictures import Pixels, Shown, read_picture, with_hole
from stages.report.reading import Evaluation, label_of, read_absent, read_evaluations, read_trainings
from stages.runtime import files, guard
from stages.runtime.log import log
from stages.runtime.params import Settings, read, read_seed

OUT = Path("data/report")
_DATA_REPORTS = {
    "The photographs": (Path("data/prepared/data_report.html"), "photographs.html"),
    "The holes": (Path("data/masks/data_report.html"), "holes.html"),
    "The altered tiles": (Path("data/augmented/data_report.html"), "altered_tiles.html"),
}
_CURVES = (("validation.csv", "validation", "val_hole_psnr"), ("loss.csv", "history", "loss"))
_COUNTS = Path("data/prepared/summary.json")


class MethodParams(Settings):
    """One row of `methods` in params.yaml."""

    filled_by: str


def main() -> None:
    """Write the page, the contact sheets and the tables."""
    content = gather(read_seed(), read("methods", dict[str, MethodParams]))
    evaluations, resamples = content.evaluations, content.resamples
    with files.fresh_folder(OUT) as folder:
        files.write_text(folder / "index.html", render(content, Album(folder)))
        for page, name in _DATA_REPORTS.values():
            if page.exists():
                shutil.copyfile(page, folder / name)
        files.write_csv(folder / "scores.csv", comparison.as_table(evaluations, resamples))
        files.write_csv(folder / "differences.csv", comparison.differences_table(evaluations, resamples))
        files.write_json(folder / "metrics.json", tables.metrics(evaluations, content.photographs))
        files.write_csv(folder / "gain_by_ratio.csv", tables.gain_by_ratio(evaluations))
        for name, table, curve in _CURVES:
            files.write_csv(folder / name, tables.curves(content.trainings, table, curve))
        _write_photographs(folder, content.photographs)
    log(f"{OUT / 'index.html'}: {len(evaluations)} methods on {len(evaluations[0].scores)} pairs; open it in a browser")


def _write_photographs(folder: Path, found: photographs.Answered | None) -> None:
    if found is None:
        return
    files.write_csv(folder / "photographs.csv", photographs.as_table(found))
    for key in dict.fromkeys(one.key for one in found.entries):
        sheet = photographs.sheet(found, key)
        (folder / "methods" / key).mkdir(parents=True, exist_ok=True)
        sheet.save(folder / "methods" / key / "photographs.jpg", quality=88)


def gather(seed: int, methods: dict[str, MethodParams]) -> Content:
    """Read everything that the page shows.

    Args:
        seed: of the resampling for intervals.
        methods: `methods` of params.yaml, by key.
    """
    filled_by = {key: one.filled_by for key, one in methods.items()}
    evaluations = read_evaluations(Path("data/evaluation"), filled_by)
    absent = {
        label_of(key): f"not scored: {why}" for key, why in read_absent(Path("data/evaluation"), filled_by).items()
    }
    trainings = read_trainings(Path("data/training"), [one.key for one in evaluations if one.trained])
    tiles, mask_set = Tiles(["data/prepared/test"]), MaskSet("data/masks/test.npy")
    rows = sorted(evaluations[0].pictures)
    gallery = show(evaluations[0], rows, [one.pictures for one in evaluations], tiles, mask_set)
    reference = comparison.reference(evaluations)
    worst = {
        one.key: [
            _beside(shown, None if one is reference else reference)
            for shown in show(one, list(one.worst), [one.worst], tiles, mask_set)
        ]
        for one in evaluations
    }
    resamples = Resamples(evaluations[0].scores["photo"], np.random.default_rng([seed, *b"report"]))
    claims = find_claims(evaluations, resamples, rows, trainings)
    return Content(
        evaluations=evaluations,
        absent=absent,
        photographs=photographs.answered(
            evaluations, absent, np.random.default_rng([seed, *b"photographs"]), Path("data/photographs")
        ),
        trainings=trainings,
        gallery=gallery,
        worst=worst,
        claims=claims,
        resamples=resamples,
        pairs_sha256=files.sha256("data/pairs.csv"),
        counts=json.loads(_COUNTS.read_text(encoding="utf-8")) if _COUNTS.exists() else {},
        pages={title: name for title, (page, name) in _DATA_REPORTS.items() if page.exists()},
    )


def show(
    one: Evaluation, rows: list[int], answers: Sequence[Mapping[int, Path]], tiles: Tiles, mask_set: MaskSet
) -> list[Shown]:
    """Read the pictures of some pairs of test tile and hole.

    Args:
        one: any evaluation; its scores refer to tiles and holes by row.
        rows: of its scores.
        answers: for each method shown, its composite's file by row of the scores.
        tiles: the test tiles.
        mask_set: the test holes.
    """
    pairs = one.scores.iloc[rows]
    targets, holes = tiles.gather(pairs["tile_row"].to_numpy()), mask_set.gather(pairs["hole_row"].to_numpy())
    return [
        Shown(row, target, with_hole(target, hole), [read_picture(of_method[row]) for of_method in answers], hole)
        for row, target, hole in zip(rows, targets, holes, strict=True)
    ]


def _beside(shown: Shown, reference: Evaluation | None) -> Shown:
    """Add the answer of the reference method, which evaluation did not keep for this pair."""
    if reference is None or reference.key not in classical.METHODS:
        return shown
    filled = classical.fill(reference.key, shown.target * (1 - shown.hole[..., None]), shown.hole)
    answer: Pixels = np.round(255 * filled).astype(np.uint8)
    return replace(shown, answers=[*shown.answers, answer])


if __name__ == "__main__":
    sys.exit(guard.run("report", main))
