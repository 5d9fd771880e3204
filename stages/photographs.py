"""Ask for holes in whole photographs: data/prepared/manifest.parquet -> data/photographs, the second fixed test.

    python -m stages.photographs

Photographs of the test split, scaled down, with holes as people make them (`stages.imaging.drawing.everyday`): what
the product is used for, where `pair` has the tiles of papers. It writes `images/ID.png`, the targets; `holes/ID.png`,
white where pixels are missing; and `photographs.csv`, one row a question:

| column | means |
|---|---|
| `id` | to be cited: kind of hole, the photo's first digits, and a number from the second hole of that kind on |
| `photo`, `source` | as in data/prepared/manifest.parquet |
| `kind`, `ratio` | of the hole |
| `shown` | whether the report's gallery shows it |
| `sha256` | first 16 digits, of the target's bytes (RGB, row by row) and then the hole's (0 or 1) |
"""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from pydantic import Field

from stages.imaging.drawing.everyday import EVERYDAY_KINDS, draw_everyday
from stages.imaging.holes import hole_ratio
from stages.imaging.images import BadImageError, decode_image, open_picture, save_png
from stages.imaging.sources import find_sources
from stages.runtime import files, guard
from stages.runtime.errors import InputError
from stages.runtime.log import log
from stages.runtime.parallel import LocalBudget, map_ordered
from stages.runtime.params import Settings, read, read_seed

OUT = Path("data/photographs")

LEAST_SIDE_PX = 32  # in less, there is no room for what people make
_MOST_ELONGATED = 3.0  # of a longer panorama its middle is taken
_DIGITS = 16  # of a hash, as in data/pairs.csv
_DIGITS_OF_PHOTO = 8
_LOCAL_S = 4.0  # of work before other processes are started

Pixels = npt.NDArray[np.uint8]


class PhotographsParams(Settings):
    """The section `photographs` of params.yaml."""

    max_side: int = Field(ge=3 * LEAST_SIDE_PX, le=10**4)
    count: int = Field(ge=1, le=10**5)
    gallery: int = Field(ge=1, le=100)


class Question(NamedTuple):
    """A hole in a photograph.

    Attributes:
        photo: its hash.
        kind: of the hole.
        number: of the holes of this kind in this photograph, from 0.
    """

    photo: str
    kind: str
    number: int

    @property
    def name(self) -> str:
        """The question's id."""
        again = f"-{self.number + 1}" if self.number else ""
        return f"{self.kind}-{self.photo[:_DIGITS_OF_PHOTO]}{again}"


def choose(photos: Sequence[str], count: int, seed: int) -> list[Question]:
    """Choose photographs and kinds of holes.

    Kinds come in turn. Photographs come in laps, so that the numbers of their holes differ by at most one; within a lap
    each kind goes to the photograph that has had it least often. In what order photographs are asked for depends on the
    seed and their content, and a hole on nothing else: another photograph among them moves few questions and changes no
    hole.

    Args:
        photos: hashes of different photographs.
        count: of the questions.
        seed: of the whole pipeline.
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
    """Draw a question's hole: uint8 (H, W), 1 = missing."""
    words = f"{seed} photographs {question.photo} {question.kind} {question.number}"
    return draw_everyday(question.kind, shape, np.random.default_rng([*hashlib.sha256(words.encode()).digest()]))


def scaled(pixels: Pixels, max_side: int) -> Pixels:
    """Scale a photograph down until its longer side is `max_side` pixels; of a panorama, its middle.

    Args:
        pixels: uint8 (H, W, 3); a smaller one stays as it is.
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


class Order(NamedTuple):
    """One photograph and what is asked of it: its file, the name in the manifest, its hash, its questions."""

    path: Path
    source: str
    photo: str
    questions: list[Question]


class Manner(NamedTuple):
    """How questions are made: folder of the files, `max_side`, limit of megapixels, seed."""

    folder: Path
    max_side: int
    max_megapixels: float
    seed: int


def make(manner: Manner, order: Order) -> list[dict[str, Any]]:
    """Write target and hole of all questions of one photograph.

    Returns:
        a row a question, but for `shown`.

    Raises:
        InputError: the photograph is not what `prepare` took in, or not there any more.
    """
    target = scaled(_read(order, manner.max_megapixels), manner.max_side)
    rows = []
    for question in order.questions:
        hole = draw(question, target.shape[:2], manner.seed)
        save_png(manner.folder / "images" / f"{question.name}.png", target)
        Image.fromarray(255 * hole).save(encoded := BytesIO(), "PNG")
        with files.atomic_write(manner.folder / "holes" / f"{question.name}.png") as file:
            file.write(encoded.getbuffer())
        facts = {"id": question.name, "photo": order.photo, "source": order.source, "kind": question.kind}
        digest = hashlib.sha256(target.tobytes() + hole.tobytes()).hexdigest()[:_DIGITS]
        rows.append({**facts, "ratio": hole_ratio(hole), "sha256": digest})
    return rows


def _read(order: Order, max_megapixels: float) -> Pixels:
    again = "it was a test photograph when data/prepared was made; bring it back, or run dvc repro"
    try:
        with open_picture(order.path) as file:
            content = file.read()
        if hashlib.sha256(content).hexdigest() != order.photo:
            raise InputError(f"{order.path} is not the file that it was: {again}")
        return decode_image(BytesIO(content), max_megapixels)
    except BadImageError as bad:
        raise InputError(f"{order.path} cannot be read any more: {bad.detail} ({bad.code}); {again}") from None


def large_enough(tiles: pd.DataFrame) -> pd.DataFrame:
    """Return the test photographs in which there is room for a hole.

    Args:
        tiles: data/prepared/manifest.parquet, a row a tile, whose boxes say how large a photograph is at least.

    Returns:
        one row a photograph, `source` by `photo`.

    Raises:
        InputError: there is none.
    """
    photos = tiles[tiles["split"] == "test"].groupby("photo").agg({"source": "first", "x1": "max", "y1": "max"})
    large = photos[photos[["x1", "y1"]].min(axis=1) >= LEAST_SIDE_PX]
    if large.empty:
        raise InputError("there are no test photographs to make holes in; give `prepare` more photographs")
    return large


def main() -> None:
    """Choose the questions, read the photographs, write them."""
    seed, params = read_seed(), read("photographs", PhotographsParams)
    photos = read("prepare.photos", str)
    source_of = large_enough(pd.read_parquet("data/prepared/manifest.parquet"))["source"]
    path_of = {source.name: source.path for source in find_sources(Path(photos))}
    questions = choose(list(source_of.index), params.count, seed)
    asked: dict[str, list[Question]] = {}
    for question in questions:
        asked.setdefault(question.photo, []).append(question)
    orders = [Order(_path(path_of, source_of[photo], photos), source_of[photo], photo, asked[photo]) for photo in asked]
    with files.fresh_folder(OUT) as folder:
        for part in ("images", "holes"):
            (folder / part).mkdir()
        manner = Manner(folder.absolute(), params.max_side, read("prepare.max_megapixels", float), seed)
        made = map_ordered(partial(make, manner), orders, "photographs", "photo", LocalBudget(_LOCAL_S))
        row_of = {row["id"]: row for rows in made for row in rows}
        rows = [row_of[question.name] | {"shown": n < params.gallery} for n, question in enumerate(questions)]
        columns = ["id", "photo", "source", "kind", "ratio", "shown", "sha256"]
        files.write_csv(folder / "photographs.csv", pd.DataFrame(rows, columns=columns))
    log(f"{OUT}: {len(questions)} holes in {len(asked)} photographs")


def _path(path_of: dict[str, Path], source: str, photos: str) -> Path:
    if source not in path_of:
        raise InputError(f"{source}, a test photograph of data/prepared, is not in {photos} any more; run dvc repro")
    return path_of[source]


if __name__ == "__main__":
    sys.exit(guard.run("photographs", main))
