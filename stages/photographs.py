"""Make holes in whole test photographs: reads data/prepared/manifest.parquet, writes data/photographs.

    python -m stages.photographs

The photograph test: photographs of the test split, scaled down, with holes like those that people make
(`stages.imaging.drawing.everyday`). `images/ID.png` are the targets and `holes/ID.png` the holes (white = missing);
`photographs.csv` has one row per hole:

| column | means |
|---|---|
| `id` | kind of hole, first digits of the photo, and a number if the photo has several holes of that kind |
| `photo`, `source` | as in data/prepared/manifest.parquet |
| `kind`, `ratio` | of the hole |
| `shown` | whether the report's gallery shows it |
| `sha256` | first 16 digits, of the bytes of target (RGB, row by row) and hole (0 or 1) |
"""

import hashlib
import sys
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from pydantic import ConfigDict, Field

from stages.imaging.drawing.everyday import EVERYDAY_KINDS, draw_everyday
from stages.imaging.holes import hole_ratio
from stages.imaging.images import BadImageError, decode_image, open_picture, save_png
from stages.imaging.manifest import MANIFEST, read_parts
from stages.imaging.source_table import Source
from stages.imaging.sources import SourcesParams, find_sources
from stages.runtime import files, guard
from stages.runtime.errors import InputError
from stages.runtime.log import log
from stages.runtime.parallel import LocalBudget, map_ordered
from stages.runtime.params import Settings, read, read_seed

OUT = Path("data/photographs")

LEAST_SIDE_PX = 32  # smaller photographs have no room for such holes
_MOST_ELONGATED = 3.0  # longer panoramas are cropped to their middle
_DIGITS = 16  # of a hash, as in data/pairs.csv
_DIGITS_OF_PHOTO = 8
_LOCAL_S = 4.0  # of work before worker processes are started

Pixels = npt.NDArray[np.uint8]


class PhotographsParams(Settings):
    """The section `photographs` of params.yaml.

    Attributes:
        max_side: pixels; longer photographs are scaled down, 96 to 10,000.
        count: number of holes.
        gallery: of them shown in the report, 1 to 100.
    """

    max_side: int = Field(ge=3 * LEAST_SIDE_PX, le=10**4)
    count: int = Field(ge=1, le=10**5)
    gallery: int = Field(ge=1, le=100)


class _Sources(SourcesParams):
    max_megapixels: float

    model_config = ConfigDict(extra="ignore")  # other settings of `prepare`


class Question(NamedTuple):
    """A hole in a photograph.

    Attributes:
        photo: its hash.
        kind: of the hole.
        number: among holes of this kind in this photograph, from 0.
    """

    photo: str
    kind: str
    number: int

    @property
    def name(self) -> str:
        """The id."""
        again = f"-{self.number + 1}" if self.number else ""
        return f"{self.kind}-{self.photo[:_DIGITS_OF_PHOTO]}{again}"


def choose(photos: Collection[str], count: int, seed: int) -> list[Question]:
    """Choose photographs and kinds of holes.

    Kinds alternate. Photographs are used in laps, so that the numbers of their holes differ by at most one; within a
    lap each kind goes to the photograph that had it least often. The order of photographs and each hole depend on the
    seed and the photograph's content only: another photograph moves few questions and changes no hole.

    Args:
        photos: hashes of the photographs.
        count: number of holes.
        seed: of the pipeline.
    """
    ordered = sorted(photos, key=lambda photo: hashlib.sha256(f"{seed} photographs {photo}".encode()).digest())
    return list(islice(_asked(ordered), count))


def _asked(photos: Sequence[str]) -> Iterator[Question]:
    seen: dict[tuple[str, str], int] = {}
    turn = 0
    while photos:
        waiting = list(photos)
        while waiting:
            kind = EVERYDAY_KINDS[turn % len(EVERYDAY_KINDS)]
            photo = min(waiting, key=lambda one: seen.get((one, kind), 0))
            waiting.remove(photo)
            number = seen.get((photo, kind), 0)
            seen[photo, kind] = number + 1
            turn += 1
            yield Question(photo, kind, number)


def draw(question: Question, shape: tuple[int, int], seed: int) -> Pixels:
    """Draw the hole of a question: uint8 (H, W), 1 = missing."""
    words = f"{seed} photographs {question.photo} {question.kind} {question.number}"
    return draw_everyday(question.kind, shape, np.random.default_rng([*hashlib.sha256(words.encode()).digest()]))


def scaled(pixels: Pixels, max_side: int) -> Pixels:
    """Scale a photograph down to a longer side of `max_side` pixels; panoramas are cropped to their middle.

    Args:
        pixels: uint8 (H, W, 3); smaller ones are not changed.
        max_side: pixels.
    """
    most = round(_MOST_ELONGATED * min(pixels.shape[:2]))
    top, left = (max(0, side - most) // 2 for side in pixels.shape[:2])
    pixels = pixels[top : top + most, left : left + most]
    scale = max_side / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    h, w = (max(1, round(side * scale)) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((w, h), Image.Resampling.LANCZOS, reducing_gap=3.0))


class PhotographJob(NamedTuple):
    """A photograph with its questions: file, hash, questions."""

    source: Source
    photo: str
    questions: list[Question]


class OutputConfig(NamedTuple):
    """Settings of the test: output folder, `max_side`, limit of megapixels, seed."""

    folder: Path
    max_side: int
    max_megapixels: float
    seed: int


def make(config: OutputConfig, job: PhotographJob) -> list[dict[str, Any]]:
    """Write targets and holes of a photograph.

    Returns:
        a row per question, without `shown`.

    Raises:
        InputError: the photograph is missing or has changed since `prepare` read it.
    """
    target = scaled(_read(job, config.max_megapixels), config.max_side)
    rows = []
    for question in job.questions:
        hole = draw(question, target.shape[:2], config.seed)
        save_png(config.folder / "images" / f"{question.name}.png", target)
        Image.fromarray(255 * hole).save(encoded := BytesIO(), "PNG")
        with files.atomic_write(config.folder / "holes" / f"{question.name}.png") as file:
            file.write(encoded.getbuffer())
        facts = {"id": question.name, "photo": job.photo, "source": job.source.name, "kind": question.kind}
        digest = hashlib.sha256(target.tobytes() + hole.tobytes()).hexdigest()[:_DIGITS]
        rows.append({**facts, "ratio": hole_ratio(hole), "sha256": digest})
    return rows


def _read(job: PhotographJob, max_megapixels: float) -> Pixels:
    again = "it was a test photograph when data/prepared was made; restore it, or run dvc repro"
    try:
        with open_picture(job.source.fetch()) as file:
            content = file.read()
        if hashlib.sha256(content).hexdigest() != job.photo:
            raise InputError(f"{job.source.path} has changed: {again}")
        return decode_image(BytesIO(content), max_megapixels)
    except BadImageError as bad:
        raise InputError(f"{job.source.path} cannot be read any more: {bad.detail} ({bad.code}); {again}") from None


def large_enough(manifest: str | Path) -> set[str]:
    """Return the hashes of the test photographs that are large enough for a hole.

    Args:
        manifest: data/prepared/manifest.parquet; the boxes of the tiles give the minimal size of a photograph.

    Raises:
        InputError: there is none.
    """
    large = dict[str, int]()  # 1 for a photograph that is wide enough, 2 if it is tall enough, 3 if both
    for part in read_parts(manifest, ["photo", "x1", "y1"], ["test"]):
        for side, flag in (("x1", 1), ("y1", 2)):
            for photo in part["photo"][part[side] >= LEAST_SIDE_PX].unique():
                large[photo] = large.get(photo, 0) | flag
    both = {photo for photo, flags in large.items() if flags == 3}
    if not both:
        raise InputError("there are no test photographs to make holes in; add photographs")
    return both


def _sources_of(photos: Collection[str], manifest: str | Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in read_parts(manifest, ["photo", "source"], ["test"]):
        asked = part[part["photo"].isin(photos)]
        found |= zip(asked["photo"], asked["source"], strict=True)
    return found


def main() -> None:
    """Choose the questions, read the photographs, write the test."""
    seed, params = read_seed(), read("photographs", PhotographsParams)
    sources = read("prepare", _Sources)
    questions = choose(large_enough(MANIFEST), params.count, seed)
    asked: dict[str, list[Question]] = {}
    for question in questions:
        asked.setdefault(question.photo, []).append(question)
    source_of = _sources_of(asked, MANIFEST)
    file_of = _files({source_of[photo] for photo in asked}, sources)
    jobs = [PhotographJob(file_of[source_of[photo]], photo, about) for photo, about in asked.items()]
    with files.fresh_folder(OUT) as folder:
        for part in ("images", "holes"):
            (folder / part).mkdir()
        config = OutputConfig(folder.absolute(), params.max_side, sources.max_megapixels, seed)
        made = map_ordered(partial(make, config), jobs, "photographs", "photo", LocalBudget(_LOCAL_S))
        row_of = {row["id"]: row for rows in made for row in rows}
        rows = [row_of[question.name] | {"shown": n < params.gallery} for n, question in enumerate(questions)]
        columns = ["id", "photo", "source", "kind", "ratio", "shown", "sha256"]
        files.write_csv(folder / "photographs.csv", pd.DataFrame(rows, columns=columns))
    log(f"{OUT}: {len(questions)} holes in {len(asked)} photographs")


def _files(names: set[str], params: SourcesParams) -> dict[str, Source]:
    sources = find_sources(params)
    is_asked = pc.is_in(sources.table["name"], pa.array(names, pa.string()))
    found = {each.name: each for each in sources.take(np.flatnonzero(is_asked))}
    if gone := names - found.keys():
        raise InputError(
            f"{min(gone)}, a test photograph of data/prepared, is no longer in {params.photos}; run dvc repro"
        )
    return found


if __name__ == "__main__":
    sys.exit(guard.run("photographs", main))
