"""Data report of the photographs: files by category, tiles of every split, sizes, colours, near duplicates."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.imaging.data_report.charts import Histogram
from stages.imaging.data_report.page import Count, Page, Picture, Section, render
from stages.imaging.data_report.sheets import Pixels, contact_sheet, data_uri, fit, some_of
from stages.imaging.images import MOST_MEGAPIXELS, BadImageError, decode, open_picture
from stages.imaging.shards import Tiles
from stages.imaging.source_table import Source, Sources
from stages.imaging.splits import SPLITS
from stages.prepare.selection import Selection
from stages.runtime import machine

_ON_A_SHEET, _COLUMNS, _TILE_PX = 48, 16, 64
_MEASURED = 500  # tiles of each split, for the colours
_MOST_PAIRS, _PAIR_PX = 24, 150
_EXAMPLES = 3  # of files that were rejected for the same reason

Floats = npt.NDArray[np.float64]


def data_report(
    folder: Path, sources: Sources, selection: Selection, rejects: pd.DataFrame, summary: Mapping[str, Any]
) -> str:
    """Render the page.

    Args:
        folder: output of the stage.
        sources: all files.
        selection: the photos.
        rejects: `path`, `reason` and `detail` of all unused files.
        summary: the counts.
    """
    tiles = {split: Tiles([folder / split]) for split in SPLITS}
    fates = ", ".join(f"{summary[fate]:,} {fate}" for fate in ("kept", "converted", "duplicates", "rejected"))
    side = tiles["train"].size
    made = ", ".join(f"{summary[f'tiles_{split}']:,} {split}" for split in SPLITS)
    histograms = [*_sizes(selection), *_colours(tiles)]
    machine.return_freed_memory()  # of millions of photos, before matplotlib takes some
    return render(
        Page(
            "Prepared photographs",
            f"{summary['files']:,} files: {fates}.\nTiles of {side} x {side} pixels: {made}.",
            [
                Section("Files", _FILES, counts=_fates(summary, rejects)),
                Section("Tiles of each split", "Evenly spread over the split.", sheets=_sheets(tiles)),
                Section("Sizes and colours", _COLOURS, histograms=histograms),
                Section("Near duplicates", _NEAR, pictures=_pairs(sources, selection.pairs)),
            ],
        )
    )


_FILES = "Each file is in one of these categories. A converted photo may count for several conversions."
_COLOURS = "The splits should have similar distributions; a large difference here also affects the test."
_NEAR = (
    "Photographs that look nearly the same, with their splits and the number of bits in which their hashes differ. If "
    "pairs do not look alike, prepare.near_duplicate_bits is too high."
)


def _fates(summary: Mapping[str, Any], rejects: pd.DataFrame) -> list[Count]:
    counts = [Count("kept", summary["kept"])]
    counts += [
        Count(f"converted: {name.removeprefix('converted_').replace('_', ' ')}", number)
        for name, number in summary.items()
        if name.startswith("converted_")
    ]
    for reason, group in rejects.groupby("reason"):
        first = group.head(_EXAMPLES)
        some = [f"{path} ({detail})" for path, detail in zip(first["path"], first["detail"], strict=True)]
        label = "duplicate" if reason == "duplicate" else f"rejected: {str(reason).replace('_', ' ')}"
        counts.append(Count(label, len(group), "; ".join(some)))
    return counts


def _sheets(tiles: Mapping[str, Tiles]) -> list[Picture]:
    return [
        Picture(
            contact_sheet(list(some_of(some, _ON_A_SHEET)), _COLUMNS, max(_TILE_PX, some.size // 4)),
            f"{split}, {min(len(some), _ON_A_SHEET)} of {len(some):,} tiles",
        )
        for split, some in tiles.items()
    ]


def _sizes(selection: Selection) -> list[Histogram]:
    height, width = (selection.placed[name].to_numpy() for name in ("height", "width"))
    is_of = {split: (selection.placed["split"] == split).to_numpy() for split in SPLITS}
    sides, ratios = np.minimum(height, width), width / height
    longest = float(np.percentile(sides, 98))
    step = 10.0 ** np.floor(np.log10(longest))
    return [
        Histogram.of(title, {split: values[rows] for split, rows in is_of.items()}, 0, high)
        for title, values, high in (
            ("short side of the photo, pixels", sides, float(np.ceil(longest / step) * step)),
            ("width over height", ratios, 3),
        )
    ]


def _colours(tiles: Mapping[str, Tiles]) -> list[Histogram]:
    measured = {split: _measure(some_of(some, _MEASURED)) for split, some in tiles.items()}
    names = ("brightness of a tile, mean of 0 to 255", "contrast of a tile, deviation", "colourfulness of a tile")
    return [
        Histogram.of(name, {split: columns[:, number] for split, columns in measured.items()}, 0, high)
        for number, (name, high) in enumerate(zip(names, (255, 100, 100), strict=True))
    ]


def _measure(pixels: Pixels) -> Floats:
    """Return mean, deviation and mean range of the channels of each tile, (n, 3)."""
    grey = pixels.mean(axis=3, dtype=np.float32)
    coloured = (pixels.max(axis=3) - pixels.min(axis=3)).mean(axis=(1, 2))
    return np.stack([grey.mean(axis=(1, 2)), grey.std(axis=(1, 2)), coloured], axis=1).astype(np.float64)


def _pairs(sources: Sources, pairs: pd.DataFrame) -> list[list[Picture]]:
    rows = []
    for pair in pairs.head(_MOST_PAIRS).to_dict("records"):
        pictures = [
            _picture(sources[pair["one"]], pair["split"], ""),
            _picture(sources[pair["other"]], pair["split_of_near"], f", {pair['bits']} bits"),
        ]
        rows.append([picture for picture in pictures if picture])
    return rows


def _picture(source: Source, where: str, more: str) -> Picture | None:
    try:
        with open_picture(source.fetch()) as file:
            decoded = decode(file, MOST_MEGAPIXELS, _PAIR_PX)
    except BadImageError:  # it disappeared in the meantime; show the rest
        return None
    return Picture(data_uri(fit(decoded.pixels, _PAIR_PX)), f"{source.name}: {where}{more}")
