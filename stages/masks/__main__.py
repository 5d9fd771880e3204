"""Draw the holes of every split: reads params (and a folder of mask pictures), writes data/masks.

    python -m stages.masks

`<split>.npy` is a mask set for `stages.imaging.holes.MaskSet`. `<split>.parquet` has kind, ratio, bucket (-1 outside
all), border and seed of each hole. The test set has the same number of holes in every cell of ratio bucket and border.
Holes for training and validation are spread evenly over the ratios, and every second one touches the border.
`data_report.html` shows examples of every kind and their distributions.

Three kinds cannot meet any ratio: `challenge` holes have a fixed ratio, `everyday` holes are rarely large, and `files`
holes have the ratios of the pictures. Where such a kind is not possible, its share goes to the others.
"""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, field_validator, model_validator

from stages.imaging.drawing.boxes import challenge_ratio
from stages.imaging.drawing.mask_folder import MaskFolder, keep_given, kept_given, load_given
from stages.imaging.drawing.mask_spec import MaskSpec, draw_hole
from stages.imaging.holes import BUCKETS, Pixels, bucket_of, hole_ratio, pack, touches_border
from stages.masks.data_report import data_report
from stages.runtime import guard
from stages.runtime.errors import ParamsError
from stages.runtime.files import atomic_write, fresh_folder, remove_folder, write_text
from stages.runtime.log import log
from stages.runtime.parallel import map_ordered
from stages.runtime.params import Settings, read, read_seed, read_tile_size

OUT = "data/masks"
CELLS = [(bucket, border) for bucket in range(len(BUCKETS)) for border in (False, True)]

_SMALLEST_TILE = 24  # in smaller tiles few ratios are possible without touching the border
_SCHEMA = pa.schema(
    [("row", pa.int64()), ("kind", pa.string()), ("ratio", pa.float64()), ("bucket", pa.int64()),
     ("border", pa.bool_()), ("seed", pa.int64())]
)  # fmt: skip
_CHUNK = 200  # holes, which take some tenths of a second
_GROUP = 2**16  # rows of the table that are written together
_LARGEST_EVERYDAY = 0.2  # ratio: few are larger
_GOLDEN = (5**0.5 - 1) / 2  # its multiples fill (0, 1) evenly, for any number of them


class Shares(Settings):
    """`masks.kinds`: the relative frequency of each kind, from 0; see `stages/imaging/drawing` for the kinds."""

    strokes: float = Field(ge=0)
    blobs: float = Field(ge=0)
    boxes: float = Field(ge=0)
    challenge: float = Field(ge=0)
    everyday: float = Field(ge=0)
    files: float = Field(ge=0)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not any(self.model_dump().values()):
            raise ValueError("at least one kind should have a share above 0")
        return self


class MasksParams(Settings):
    """The section `masks` of params.yaml.

    Attributes:
        train: holes in the training set.
        val: holes in the validation set.
        test_per_cell: holes in each of the 12 cells (ratio bucket and border) of the test set.
        ratio_range: of missing pixels in training and validation, within (0, 0.6].
        kinds: how often each kind is drawn.
        files: folder of mask pictures, used if `kinds.files` is above 0.
        files_hole_is: colour that means "missing" in these pictures.
    """

    train: int = Field(ge=1, le=10**7)
    val: int = Field(ge=1, le=10**7)
    test_per_cell: int = Field(ge=1, le=10**6)
    ratio_range: tuple[float, float]
    kinds: Shares
    files: str
    files_hole_is: Literal["white", "black"]

    @field_validator("ratio_range")
    @classmethod
    def _ascending(cls, value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not 0 < low < high <= BUCKETS[-1][1]:
            raise ValueError(f"should be [low, high] with 0 < low < high <= {BUCKETS[-1][1]}")
        return value


@dataclass(frozen=True)
class Recipe:
    """Settings from which holes are drawn.

    Attributes:
        seed: of the pipeline.
        size: side of a hole in pixels.
        ratio_range: for train and val: more than the first, at most the second.
        shares: relative frequency of each kind.
        given: the holes of the folder, as `keep_given` kept them, if `files` has a share: workers read what they need.
    """

    seed: int
    size: int
    ratio_range: tuple[float, float]
    shares: dict[str, float]
    given: Path | None


def write_mask_set(recipe: Recipe, split: str, count: int, folder: Path) -> None:
    """Write the holes of a split; each depends on its row only, so a larger mask set starts with the smaller one.

    Args:
        recipe: settings.
        split: train, val or test.
        count: number of holes.
        folder: for the packed holes, uint8 (count, size, ceil(size / 8)), and the table with a row per hole.

    Raises:
        ParamsError: no kind with a share can meet a spec.
    """
    ranges = [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    shape = (count, recipe.size, -(-recipe.size // 8))
    with (
        atomic_write(folder / f"{split}.npy") as file,
        atomic_write(folder / f"{split}.parquet") as table,
        pq.ParquetWriter(table, _SCHEMA) as writer,
    ):
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        waiting: list[pa.Table] = []
        for packed, rows in map_ordered(partial(_draw_rows, recipe, split), ranges, f"masks {split}", unit="chunk"):
            file.write(packed.data)
            waiting.append(rows)
            if len(waiting) * _CHUNK >= _GROUP:
                writer.write_table(pa.concat_tables(waiting).combine_chunks())
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting).combine_chunks())


def _draw_rows(recipe: Recipe, split: str, rows: Iterable[int]) -> tuple[Pixels, pa.Table]:
    cv2.setNumThreads(1)  # the processes share the cores already
    drawn = [_draw_row(recipe, split, row) for row in rows]
    return pack(np.stack([hole for hole, _ in drawn])), pa.Table.from_pylist([one for _, one in drawn], _SCHEMA)


def _draw_row(recipe: Recipe, split: str, row: int) -> tuple[Pixels, dict[str, Any]]:
    seed = int(np.random.SeedSequence([recipe.seed, *b"masks", *split.encode(), row]).generate_state(1)[0])
    rng = np.random.default_rng(seed)
    wanted = spec_of(split, row, recipe.ratio_range)
    given = kept_given(recipe.given) if recipe.given else None
    kind = _pick_kind(recipe, given, wanted, rng)
    if kind == "files" and given:
        hole = given.draw(wanted, split == "train", rng)
    else:
        hole = draw_hole(kind, (recipe.size, recipe.size), wanted, rng)
    ratio = hole_ratio(hole)
    bucket = bucket_of(ratio)
    record = {"ratio": ratio, "bucket": -1 if bucket is None else bucket, "border": touches_border(hole), "seed": seed}
    return hole, {"row": row, "kind": kind, **record}


def spec_of(split: str, row: int, ratio_range: tuple[float, float]) -> MaskSpec:
    """Return the spec of a row: test rows cycle through the cells, those of train and val alternate the border.

    Args:
        split: train, val or test.
        row: of the mask set, from 0.
        ratio_range: of train and val.
    """
    lap, place = divmod(row, len(CELLS)) if split == "test" else (row, row % 2)
    bucket, border = CELLS[place]
    low, high = BUCKETS[bucket] if split == "test" else ratio_range
    return MaskSpec(low, high, ratio=low + (high - low) * ((lap + 1) * _GOLDEN % 1), border=border)


def _pick_kind(recipe: Recipe, given: MaskFolder | None, wanted: MaskSpec, rng: np.random.Generator) -> str:
    shares = recipe.shares.items()
    able = {kind: share for kind, share in shares if share > 0 and _can_serve(kind, recipe.size, given, wanted)}
    if not able:
        raise ParamsError(
            f"no kind with a share in `masks.kinds` can make a hole with a ratio in ({wanted.low:g}, {wanted.high:g}] "
            f"that {'touches' if wanted.border else 'does not touch'} the border, which every mask set needs; give "
            f"strokes, blobs or boxes a share (for `files`, check that `masks.files_hole_is` is the right colour)"
        )
    limits = np.cumsum(list(able.values()))
    return list(able)[int(np.searchsorted(limits / limits[-1], rng.random(), side="right"))]


def _can_serve(kind: str, size: int, given: MaskFolder | None, wanted: MaskSpec) -> bool:
    if kind == "challenge":
        return wanted.low < challenge_ratio((size, size)) <= wanted.high
    if kind == "everyday":
        return wanted.low < _LARGEST_EVERYDAY
    if kind == "files":
        return given is not None and len(given.rows_for(wanted)) > 0
    return True


def main() -> None:
    """Read params, draw the mask sets, write them."""
    seed, size, params = read_seed(), read_tile_size(), read("masks", MasksParams)
    if size < _SMALLEST_TILE:
        raise ParamsError(f"params.yaml: `tile_size` is {size}, but holes need at least {_SMALLEST_TILE} pixels")
    given = _load_given(params, size) if params.kinds.files else None
    counts = {"train": params.train, "val": params.val, "test": params.test_per_cell * len(CELLS)}
    started = time.perf_counter()
    with fresh_folder(OUT) as folder:
        kept = keep_given(given, folder.absolute() / "given") if given else None
        recipe = Recipe(seed, size, params.ratio_range, params.kinds.model_dump(), kept)
        for split, count in counts.items():
            write_mask_set(recipe, split, count, folder)
        remove_folder(folder / "given")
        seconds = time.perf_counter() - started
        write_text(folder / "data_report.html", data_report(folder, given, params.files_hole_is))
    speed = sum(counts.values()) / seconds
    numbers = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    log(f"masks: {numbers} holes of {size} x {size} pixels in {OUT}; {speed:,.0f} a second")
    log(f"masks: data report: {OUT}/data_report.html")


def _load_given(params: MasksParams, size: int) -> MaskFolder:
    given, refused = load_given(params.files, params.files_hole_is, size)
    for bad in refused:
        log(f"masks: skipped {bad}")
    log(f"masks: mask pictures used from {params.files}: {len(given.ratios):,}")
    if warning := given.polarity_warning(params.files_hole_is):
        log(f"masks: {warning}")
    return given


if __name__ == "__main__":
    sys.exit(guard.run("masks", main))
