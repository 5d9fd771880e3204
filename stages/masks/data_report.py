"""Data report of the holes: examples of every kind, distributions of ratio, border, number of parts and width."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stages.imaging.data_report.charts import Histogram
from stages.imaging.data_report.page import Page, Picture, Section, render
from stages.imaging.data_report.sheets import contact_sheet, spread
from stages.imaging.drawing.mask_folder import MaskFolder
from stages.imaging.holes import BUCKETS, MaskSet, Pixels

_SPLITS = ("train", "val", "test")
_ON_A_SHEET, _COLUMNS, _HOLE_PX = 48, 16, 64
_SAMPLED = 100_000  # first holes of a set, from which those shown and measured are chosen
_MEASURED = 1000  # holes of each kind

Floats = npt.NDArray[np.float64]

_RATIOS = (
    "White is missing; sorted by ratio. Blobs resemble the masks of Liu et al. (2018), regions that are occluded "
    "between two frames of a video. Strokes resemble the hand-drawn masks of Yu et al. (2019). Large holes that do not "
    "touch the border approach a square."
)
_KINDS = "Width is that of the widest part; parts are connected components. Up to 1,000 holes of each kind."
_CELLS = "The test mask set has equally many in every cell of ratio and border; the others cover their range evenly."


def data_report(folder: Path, given: MaskFolder | None, hole_is: str) -> str:
    """Render the page.

    Args:
        folder: of the mask sets and their tables.
        given: the holes of the folder of mask pictures, if it was used.
        hole_is: the colour that means "missing" there.
    """
    training = MaskSet(folder / "train.npy")
    counts = {split: _count(folder / f"{split}.parquet") for split in _SPLITS}
    samples = {split: _first(folder / f"{split}.parquet") for split in _SPLITS}
    kind_of, ratio_of = samples["train"]["kind"], samples["train"]["ratio"]
    num_of = counts["train"].groupby("kind")["holes"].sum()
    shown = {kind: ratio_of[kind_of == kind].sort_values().index.to_numpy() for kind in sorted(kind_of.unique())}
    numbers = ", ".join(f"{table['holes'].sum():,} {split}" for split, table in counts.items())
    warning = given.polarity_warning("black" if hole_is == "black" else "white") if given else ""
    lead = f"{numbers} holes of {training.size} x {training.size} pixels."
    if num_of.sum() > _SAMPLED:
        lead += f"\nExamples and histograms are of the first {_SAMPLED:,} of each set."
    return render(
        Page(
            "The holes",
            f"{lead}\n{warning[:1].upper()}{warning[1:]}".strip(),
            [
                Section(
                    "Every kind",
                    _RATIOS,
                    sheets=[_sheet(training, kind, rows, num_of[kind]) for kind, rows in shown.items()],
                ),
                Section("Properties", _KINDS, histograms=_measures(training, shown)),
                Section("Ratios in the splits", _CELLS, histograms=[_ratios(samples)], facts=_cells(counts)),
            ],
        )
    )


def _count(path: Path) -> pd.DataFrame:
    """Count the `holes` of each `kind`, `bucket` and `border`, a part of the table at a time."""
    cell = ["kind", "bucket", "border"]
    with pq.ParquetFile(path) as file:
        parts = [
            pa.Table.from_batches([batch]).group_by(cell).aggregate([([], "count_all")]).to_pandas()
            for batch in file.iter_batches(columns=cell)
        ]
    counted: pd.DataFrame = pd.concat(parts).groupby(cell, as_index=False)["count_all"].sum()
    return counted.rename(columns={"count_all": "holes"})


def _first(path: Path) -> pd.DataFrame:
    """Read the first holes; those that follow have ratios and kinds in the same shares."""
    with pq.ParquetFile(path) as file:
        first: pd.DataFrame = next(file.iter_batches(_SAMPLED, columns=["kind", "ratio"])).to_pandas()
    return first


def _sheet(mask_set: MaskSet, kind: str, rows: npt.NDArray[np.int64], count: int) -> Picture:
    holes = mask_set.gather(rows[spread(len(rows), _ON_A_SHEET)])
    tiles = [np.repeat(hole[:, :, None] * np.uint8(255), 3, axis=2) for hole in holes]
    sheet = contact_sheet(tiles, _COLUMNS, max(_HOLE_PX, min(mask_set.size, 2 * _HOLE_PX)), paper=128)
    return Picture(sheet, f"{kind}, {len(holes)} of {count:,} in the training mask set")


def _measures(mask_set: MaskSet, rows_of: Mapping[str, npt.NDArray[np.int64]]) -> list[Histogram]:
    measured = {
        kind: np.array([_measure(hole) for hole in mask_set.gather(rows[spread(len(rows), _MEASURED)])])
        for kind, rows in rows_of.items()
    }
    titles = {
        "missing pixels, %": 70,
        "parts": 24,
        "widest part, % of the side": 60,
        "missing pixels in the margin, %": 100,
    }
    return [
        Histogram.of(title, {kind: columns[:, number] for kind, columns in measured.items()}, 0, high)
        for number, (title, high) in enumerate(titles.items())
    ]


def _measure(hole: Pixels) -> tuple[float, float, float, float]:
    """Return ratio in %, number of parts, greatest width in % of the side, share in the outer tenth in %."""
    parts, _ = cv2.connectedComponents(hole)
    radius = float(cv2.distanceTransform(np.pad(hole, 1), cv2.DIST_L2, 5).max())
    edge = round(len(hole) / 10)
    inner = int(np.count_nonzero(hole[edge:-edge, edge:-edge]))
    missing = int(np.count_nonzero(hole))
    return 100 * missing / hole.size, parts - 1, 200 * radius / len(hole), 100 * (1 - inner / missing)


def _ratios(tables: Mapping[str, pd.DataFrame]) -> Histogram:
    values = {split: 100 * table["ratio"].to_numpy(np.float64) for split, table in tables.items()}
    return Histogram.of("missing pixels, %", values, 0, 70, bars=28)


def _cells(tables: Mapping[str, pd.DataFrame]) -> list[list[str]]:
    header = ["split, border", *(f"{low:.0%} to {high:.0%}" for low, high in BUCKETS), "outside"]
    rows = [header]
    for split, table in tables.items():
        for border in (False, True):
            some = table[table["border"] == border].groupby("bucket")["holes"].sum()
            counts = [f"{some.get(bucket, 0):,}" for bucket in (*range(len(BUCKETS)), -1)]
            rows.append([f"{split}, {'touching it' if border else 'not touching it'}", *counts])
    return rows
