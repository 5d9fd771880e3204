"""Write the report: data/evaluation, data/training and the pictures behind them -> data/report.

    python -m stages.report

Writes `index.html` (one page, no other file needed), `gallery.png` (target, image and all answers on one sheet) and
`scores.csv` (methods x scores).
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.pictures.holes import Bank
from stages.pictures.shards import Tiles
from stages.report.comparison import Resamples, as_table
from stages.report.looks import render_looks
from stages.report.page import render
from stages.report.pictures import Shown, contact_sheet, read_picture, with_hole
from stages.report.reading import Evaluation, read_evaluations, read_trainings
from stages.running import files, guard
from stages.running.params import Settings, read, read_seed
from stages.running.say import say

OUT = Path("data/report")


class MethodParams(Settings):
    """One row of `methods` in params.yaml."""

    filled_by: str


def main() -> None:
    """Read all evaluations and trainings, write the page, the sheet and the table."""
    seed, methods = read_seed(), read("methods", dict[str, MethodParams])
    evaluations = read_evaluations(Path("data/evaluation"), {key: one.filled_by for key, one in methods.items()})
    trainings = read_trainings(Path("data/training"), [one.key for one in evaluations if one.trained])
    gallery = gather_gallery(evaluations, Tiles(["data/prepared/test"]), Bank("data/masks/test.npy"))
    resamples = Resamples(evaluations[0].scores["photo"], np.random.default_rng([seed, *b"report"]))

    with files.fresh_folder(OUT) as folder:
        files.write_text(folder / "index.html", render(evaluations, trainings, gallery, resamples, render_looks()))
        files.write_csv(folder / "scores.csv", as_table(evaluations, resamples))
        contact_sheet(gallery, ["target", "image", *(one.label for one in evaluations)]).save(folder / "gallery.png")
    say(f"{OUT / 'index.html'}: {len(evaluations)} methods on {len(evaluations[0].scores)} pairs; open it in a browser")


def gather_gallery(evaluations: Sequence[Evaluation], tiles: Tiles, bank: Bank) -> list[Shown]:
    """Bring together what the gallery shows: a row a picture, from small holes to large ones."""
    pairs = evaluations[0].scores
    rows = sorted(evaluations[0].pictures)
    targets = tiles.gather(pairs["tile_row"].to_numpy()[rows])
    holes = bank.gather(pairs["hole_row"].to_numpy()[rows])
    return [
        Shown(row, target, with_hole(target, hole), [read_picture(one.pictures[row]) for one in evaluations])
        for row, target, hole in zip(rows, targets, holes, strict=True)
    ]


if __name__ == "__main__":
    sys.exit(guard.run("report", main))
