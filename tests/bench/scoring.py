"""Measure what scoring an answer costs beside the answer, on all cores.

python -m tests.bench.scoring data/models/pconv/model.onnx     # a minute
"""

import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from PIL import Image
from skimage.data import coffee

from stages.evaluate.filling import Questions, choose_filler
from stages.evaluate.perceptual import Distance
from stages.evaluate.scores import Answer, score, to_floats
from stages.runtime import machine
from tests.bench.filling import median_ms

PAIRS_OF = {64: 512, 256: 32}  # by their side in pixels
SHARED = 16  # pairs of one target, as 12,000 pairs have many


def main(model: str) -> None:
    """Print a line a size."""
    machine.keep_freed_memory()
    distance = Distance("cpu")
    with ProcessPoolExecutor(machine.workers(), initializer=machine.keep_freed_memory) as pool:
        for side, count in PAIRS_OF.items():
            target = np.asarray(Image.fromarray(coffee()).resize((side, side), Image.Resampling.BICUBIC))
            targets, holes = np.stack([target] * count), np.zeros((count, side, side), np.uint8)
            targets[:, 0, 0, 0] = np.arange(count) // SHARED
            holes[:, side // 4 : -side // 4, side // 4 : -side // 4] = 1
            questions = Questions([""] * count, targets * (1 - holes[..., None]), holes)
            filler = choose_filler("model", model, side)
            filled, _ = filler(questions)
            answering = min(float(filler(questions)[1].mean()) for _ in range(3))
            answers = [Answer(*each) for each in zip(targets, holes, filled, strict=True)]
            chunk = count // machine.workers()
            scoring = median_ms(lambda: [*pool.map(score, answers, chunksize=chunk)]) / count  # noqa: B023
            composites = np.where(holes[..., None] > 0, filled, to_floats(targets))
            measuring = median_ms(lambda: distance(composites, to_floats(targets), holes)) / count  # noqa: B023
            print(
                f"{side} x {side}: {answering:.2f} ms an answer; scores {scoring:.2f} ms, {scoring / answering:.0%}; "
                f"perceptual distance {measuring:.2f} ms, {measuring / answering:.0%}",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
