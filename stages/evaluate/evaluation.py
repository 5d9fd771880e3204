"""One method on all pairs."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.evaluate.filling import Filler
from stages.evaluate.scores import Answer, composite, score
from stages.pictures.holes import Bank
from stages.pictures.shards import Tiles
from stages.running.parallel import map_ordered

CHUNK = 512  # pairs held in memory at once

Pixels = npt.NDArray[np.uint8]


def evaluate(
    filler: Filler, tiles: Tiles, bank: Bank, pairs: pd.DataFrame, shown: list[int]
) -> tuple[pd.DataFrame, dict[int, Pixels]]:
    """Fill and score every pair.

    Args:
        filler: the method; it is given the pictures with their holes zeroed.
        tiles: the test tiles.
        bank: the test holes, of the tiles' size.
        pairs: from `pair_up`.
        shown: rows of `pairs` whose composites are wanted.

    Returns:
        `pairs` with `milliseconds` and the scores of each, and the wanted composites by row, uint8 (H, W, 3).
    """
    rows: list[dict[str, float]] = []
    pictures: dict[int, Pixels] = {}
    for start in range(0, len(pairs), CHUNK):
        chunk = pairs.iloc[start : start + CHUNK]
        targets, holes = tiles.gather(chunk["tile_row"].to_numpy()), bank.gather(chunk["hole_row"].to_numpy())
        images = targets * (1 - holes[..., None])
        filled, milliseconds = filler(images, holes)
        answers = [Answer(*answer) for answer in zip(targets, holes, filled, strict=True)]
        scored = map_ordered(score, answers, "scores", "pair")
        rows += [{"milliseconds": float(ms), **row} for ms, row in zip(milliseconds, scored, strict=True)]
        for row in shown:
            if start <= row < start + len(chunk):
                pictures[row] = np.round(255 * composite(answers[row - start])).astype(np.uint8)
    return pd.concat([pairs, pd.DataFrame(rows)], axis=1), pictures
