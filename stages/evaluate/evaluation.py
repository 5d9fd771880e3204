"""Evaluation of one method on all pairs, in chunks by worker processes, which read tiles and holes where they lie."""

import heapq
import math
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.evaluate.filling import BATCH_SIZE, MODELS, Filler, Questions, choose_filler
from stages.evaluate.perceptual import Distance, Fid, Lattice, Lpips
from stages.evaluate.scores import Answer, composite, score, to_floats
from stages.imaging.holes import MaskSet
from stages.imaging.shards import Tiles
from stages.runtime import machine
from stages.runtime.parallel import LocalBudget, map_ordered

CHUNK_BYTES = 64 * 2**20  # of predictions in memory at once
_AT_ONCE = 8  # pairs of a chunk that no model fills
LOCAL_S = 12.0  # of work before worker processes are started: to import torch takes each of them half as long

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Measure = Distance | Lattice | Lpips


@dataclass(frozen=True)
class Measures:
    """Measures besides the scores of `scores.py`.

    Attributes:
        perceptual: whether to compute the perceptual distance, and how far fills repeat themselves.
        lpips: whether to compute LPIPS.
        fid: whether to compute FID, over all pairs.
        critic: number of pairs, from the first, to train and test a critic on.
    """

    perceptual: bool = True
    lpips: bool = False
    fid: bool = False
    critic: int = 0


@dataclass(frozen=True)
class Subject:
    """A method under test, as worker processes get it.

    Attributes:
        key: its name, for messages.
        filled_by: as for `filling.choose_filler`.
        measures: what to measure.
        run: tells evaluations apart, since workers keep open what they have opened for one.
    """

    key: str
    filled_by: str
    measures: Measures
    run: str = field(default_factory=lambda: uuid4().hex)

    @property
    def by_torch(self) -> bool:
        """Whether torch fills: on a GPU if there is one, on a CPU with other last bits by more cores."""
        return self.filled_by.endswith(".pt2")

    def budget(self) -> LocalBudget:
        """Return how long this process works alone: to the end if torch fills, or FID is gathered."""
        return LocalBudget(math.inf if self.by_torch or self.measures.fid else LOCAL_S, all_cores=self.by_torch)

    def load_measures(self) -> dict[str, Measure]:
        """Load the measures of a single pair, by name; they are called with composites, targets and holes."""
        return _load_measures(self.measures, machine.device() if self.by_torch else "cpu")


@lru_cache(maxsize=1)
def _load_measures(measures: Measures, device: str) -> dict[str, Measure]:
    """Load the measures, and keep this process to its cores and the memory that they free."""
    machine.keep_freed_memory()  # else the perceptual distance waits for pages to be zeroed
    machine.keep_to_cores()
    found: dict[str, Measure] = {}
    if measures.perceptual:
        found |= {"perceptual": Distance(device), "lattice": Lattice(device)}
    if measures.lpips:
        found["lpips"] = Lpips(device)
    return found


@dataclass(frozen=True)
class PairTest:
    """Where the pictures of the pairs lie.

    Attributes:
        tiles: folder of the test tiles.
        holes: file of the test holes, of the tiles' size.
        num_worst: number of worst composites to keep.
    """

    tiles: Path
    holes: Path
    num_worst: int


@dataclass
class Outcome:
    """The result of a method.

    Attributes:
        scores: one row per pair, with `milliseconds` and all scores.
        shown: composites of the pairs in the report by row, uint8 (H, W, 3).
        worst: composites of the pairs with the lowest hole PSNR, like `shown`.
        fid: the Fréchet Inception distance; None if it was not asked for.
    """

    scores: pd.DataFrame
    shown: dict[int, Pixels]
    worst: dict[int, Pixels]
    fid: float | None = None


class _Opened(NamedTuple):
    """What a process needs to fill and score pairs."""

    filler: Filler
    tiles: Tiles
    mask_set: MaskSet
    per_pair: dict[str, Measure]
    fid: Fid | None


class _Scored(NamedTuple):
    """Scores of a chunk, by row of the pairs; composites that are shown or judged; (hole PSNR, row, composite)."""

    scores: pd.DataFrame
    composites: dict[int, Pixels]
    worst: list[tuple[float, int, Pixels]]


def evaluate(subject: Subject, test: PairTest, pairs: pd.DataFrame, local: LocalBudget) -> Outcome:
    """Fill and score every pair.

    Args:
        subject: the method; it gets pictures with holes set to 0.
        test: tiles and holes.
        pairs: data/pairs.csv, numbered from 0.
        local: from `Subject.budget`.
    """
    by_tile = pairs.sort_values("tile_row", kind="stable")  # so that what depends on the target alone is shared
    tiles, mask_set = Tiles([test.tiles]), MaskSet(test.holes)
    step = BATCH_SIZE if subject.filled_by.endswith(MODELS) else _AT_ONCE
    step = max(1, min(step, CHUNK_BYTES // (4 * 3 * tiles.size**2)))
    chunks = [by_tile.iloc[start : start + step] for start in range(0, len(pairs), step)]
    tables: list[pd.DataFrame] = []
    composites: dict[int, Pixels] = {}
    worst: list[tuple[float, int, Pixels]] = []
    for scored in map_ordered(partial(_score_chunk, subject, test), chunks, subject.key, "chunk", local):
        tables.append(scored.scores)
        composites |= scored.composites
        worst = heapq.nsmallest(test.num_worst, worst + scored.worst, key=lambda one: one[:2])
    scores = pairs.join(pd.concat(tables))
    if subject.measures.critic:
        from stages.evaluate.critic import told_apart  # imports torch, which calls of retraining seldom need

        asked = pairs.iloc[: subject.measures.critic]
        targets, holes = _read(tiles, mask_set, asked)
        made = np.stack([composites[row] for row in asked.index])
        scores["told_apart"] = pd.Series(told_apart(targets, made, holes, asked["photo"]), asked.index)
    shown = {row: composites[row] for row in pairs.index[pairs["shown"]]}
    gathered = _open(subject, test).fid if subject.measures.fid else None
    fid = gathered.value() if gathered else None
    return Outcome(scores, shown, {row: picture for _, row, picture in worst}, fid)


@lru_cache(maxsize=1)
def _open(subject: Subject, test: PairTest) -> _Opened:
    """Open what a process needs, once."""
    tiles, fid = Tiles([test.tiles]), Fid(machine.device()) if subject.measures.fid else None
    filler = choose_filler(subject.key, subject.filled_by, tiles.size)
    return _Opened(filler, tiles, MaskSet(test.holes), subject.load_measures(), fid)


def _read(tiles: Tiles, mask_set: MaskSet, pairs: pd.DataFrame) -> tuple[Pixels, Pixels]:
    return tiles.gather(pairs["tile_row"].to_numpy()), mask_set.gather(pairs["hole_row"].to_numpy())


def _score_chunk(subject: Subject, test: PairTest, chunk: pd.DataFrame) -> _Scored:
    opened = _open(subject, test)
    targets, holes = _read(opened.tiles, opened.mask_set, chunk)
    images = targets * (1 - holes[..., None])
    predictions, milliseconds = opened.filler(Questions(chunk["pair"].to_list(), images, holes))
    answers = [Answer(*answer) for answer in zip(targets, holes, predictions, strict=True)]
    scores = pd.DataFrame({"milliseconds": milliseconds}, chunk.index)
    scores = scores.join(pd.DataFrame([score(answer) for answer in answers], chunk.index))
    for name, values in _measure(opened, targets, holes, predictions).items():
        scores[name] = values
    kept = chunk["shown"] | (chunk.index < subject.measures.critic)
    worst = heapq.nsmallest(
        test.num_worst, zip(scores["hole_psnr"], chunk.index, answers, strict=True), key=lambda one: one[:2]
    )
    return _Scored(
        scores,
        {row: _as_picture(answer) for row, answer, keep in zip(chunk.index, answers, kept, strict=True) if keep},
        [(psnr, row, _as_picture(answer)) for psnr, row, answer in worst],
    )


def _as_picture(answer: Answer) -> Pixels:
    return np.round(255 * composite(answer)).astype(np.uint8)


def _measure(opened: _Opened, targets: Pixels, holes: Pixels, predictions: Floats) -> dict[str, list[float]]:
    if not opened.per_pair and opened.fid is None:
        return {}
    wanted = to_floats(targets)
    restored = np.where(holes[..., None] > 0, predictions, wanted)
    if opened.fid is not None:
        opened.fid.add(restored, wanted)
    return {name: measure(restored, wanted, holes) for name, measure in opened.per_pair.items()}
