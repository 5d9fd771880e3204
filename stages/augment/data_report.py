"""Data report of the augmented tiles: originals beside their copies, and how often each transform was applied."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stages.imaging.data_report.charts import Histogram
from stages.imaging.data_report.page import Count, Page, Picture, Section, render
from stages.imaging.data_report.sheets import Pixels, contact_sheet, some_of, spread
from stages.imaging.shards import Tiles

_SHOWN, _ROWS = 48, 16
_COPIES_SHOWN = 5
_TILE_PX = 64
_MEASURED = 2000

_SIDE_BY_SIDE = "Each prepared tile is followed by its copies. Copies should still look like photographs."
_COLOURS = "Copies vary more than their sources. If they lie elsewhere, training sees what the test never contains."


def data_report(source: Path, folder: Path, copies: int, applied: Mapping[str, int]) -> str:
    """Render the page.

    Args:
        source: folder of the training tiles.
        folder: output of the stage.
        copies: per tile.
        applied: number of tiles per transform.
    """
    originals = Tiles([source])
    total = copies * len(originals)
    sections = []
    if copies:
        altered = Tiles([folder / "train"])
        counts = [
            Count(name, number, f"{number / total:.0%} of the tiles")
            for name, number in sorted(applied.items(), key=lambda item: -item[1])
        ]
        sections = [
            Section("Originals and copies", _SIDE_BY_SIDE, sheets=[_sheet(originals, altered, copies)]),
            Section("Transforms", f"Applied to {total:,} tiles.", counts=counts),
            Section("Brightness and contrast", _COLOURS, histograms=_measures(originals, altered)),
        ]
    return render(
        Page(
            "Augmented tiles",
            f"{total:,} augmented copies of {len(originals):,} training tiles, {copies} of each.",
            sections,
        )
    )


def _sheet(originals: Tiles, altered: Tiles, copies: int) -> Picture:
    """Lay out each tile with its copies; a row of the sheet holds as many tiles as fit."""
    shown = min(copies, _COPIES_SHOWN)
    rows = spread(len(originals), _SHOWN)
    versions = [originals.gather(rows), *(altered.gather(rows + copy * len(originals)) for copy in range(shown))]
    tiles = list(np.stack(versions, axis=1).reshape(-1, *versions[0].shape[1:]))
    columns = _ROWS // (1 + shown) * (1 + shown)
    sheet = contact_sheet(tiles, columns, max(_TILE_PX, originals.size // 4))
    names = ", ".join(["original", *(f"copy {copy + 1}" for copy in range(shown))])
    return Picture(sheet, f"{names}, and so on; {len(rows)} of {len(originals):,} tiles")


def _measures(originals: Tiles, altered: Tiles) -> list[Histogram]:
    measured = {
        name: _measure(some_of(tiles, _MEASURED)) for name, tiles in (("originals", originals), ("copies", altered))
    }
    titles = {"brightness of a tile, mean of 0 to 255": 255, "contrast of a tile, deviation": 100}
    return [
        Histogram.of(title, {name: columns[number] for name, columns in measured.items()}, 0, high)
        for number, (title, high) in enumerate(titles.items())
    ]


def _measure(pixels: Pixels) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    grey = pixels.mean(axis=3, dtype=np.float32).reshape(len(pixels), -1)
    return grey.mean(axis=1).astype(np.float64), grey.std(axis=1).astype(np.float64)
