"""A candidate and the champion side by side: the same pairs, the same pictures, the same minute.

case = try_out(tree, "pconv", "inpaint-pconv", classical=["telea", "biharmonic"])
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.comparing.scores import by_default
from stages.evaluate.evaluation import Measures, evaluate
from stages.evaluate.filling import choose_filler
from stages.evaluate.perceptual import Distance
from stages.evaluate.photographs import FOLDER, evaluate_photographs, read_questions, restore_by_default
from stages.imaging.holes import MaskSet
from stages.imaging.near import from_text, near_duplicates
from stages.imaging.shards import Tiles
from stages.inpainting import exported, inpainter, soundness
from stages.inpainting.exported import ExportedModel
from stages.retrain.gate import Case, Champion
from stages.runtime import machine
from stages.runtime.errors import InputError
from stages.runtime.files import sha256
from stages.runtime.params import read
from stages.tracking import aliases, versions
from stages.tracking.versions import Version

_ROUNDS = 7  # of timing, candidate and champion in turn
_BATCH = 16

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Candidate:
    """A model that was just trained.

    Attributes:
        version: of the registered model.
        case: for the gate; None where the candidate is the champion already.
    """

    version: Version
    case: Case | None


def try_out(tree: Path, key: str, name: str, classical: Sequence[str]) -> Candidate:
    """Measure a candidate, and the champion of the same registered model on the same pairs.

    Args:
        tree: where the pipeline ran; `publish` has registered its models.
        key: of the model.
        name: of the registered model.
        classical: the methods that need no training.

    Raises:
        InputError: the candidate is not registered, or cannot be loaded.
        TrackingError: MLflow cannot be reached.
    """
    path = tree / f"data/models/{key}/model.pt2"
    version, champion = _registered(path, name), aliases.champion(name)
    if champion is not None and champion.number == version.number:
        return Candidate(version, None)
    model = exported.load(path, machine.device())
    tiles, mask_set = Tiles([tree / "data/prepared/test"]), MaskSet(tree / "data/masks/test.npy")
    photographs = pd.read_parquet(tree / f"data/evaluation/{key}/photographs.parquet")
    case = Case(
        scores=_scores(tree, key),
        champion=None,
        classical={method: table for method in classical if len(table := _scores(tree, method))},
        photographs=by_default(photographs) if len(photographs) else None,
        unfinite=tuple(_unfinite(model, tiles.size)),
        unfit=tuple(soundness.find_faults(inpainter.load(path.parent))),
        vetoed=version.tags.get(aliases.VETO, ""),
    )
    if champion is None:
        return Candidate(version, case)
    seen = photographs_seen(tree, champion)
    try:
        with versions.fetched(champion) as folder:
            judged = _score(tree, Champion(champion.number, None, seen=seen), folder, tiles, mask_set)
            slowdown = _slowdown(model, exported.load(folder / "model.pt2", machine.device()), tiles, mask_set)
    except InputError as error:
        judged, slowdown = Champion(champion.number, None, str(error), seen), 1.0
    return Candidate(version, replace(case, champion=judged, slowdown=slowdown))


def _registered(model: Path, name: str) -> Version:
    digest = sha256(model)
    found = [version for version in versions.registered(name) if version.digest == digest]
    if not found:
        raise InputError(
            f"{name} has no version with the weights {digest[:12]}: publish could not register it; see above"
        )
    return found[-1]


def _scores(tree: Path, method: str) -> pd.DataFrame:
    return pd.read_parquet(tree / f"data/evaluation/{method}/scores.parquet")


def _score(tree: Path, champion: Champion, folder: Path, tiles: Tiles, mask_set: MaskSet) -> Champion:
    """Score the champion, whose files are in `folder`, on the candidate's pairs and photographs."""
    measures = Measures({"perceptual": Distance(machine.device())})
    filler = choose_filler("champion", str(folder / "model.pt2"), tiles.size)
    outcome = evaluate(filler, tiles, mask_set, pd.read_csv(tree / "data/pairs.csv"), measures, 0)
    if not (tree / FOLDER).is_dir():
        return replace(champion, scores=outcome.scores)
    restorer, questions = partial(restore_by_default, str(folder)), read_questions(tree / FOLDER)
    photographs = evaluate_photographs(restorer, questions, measures, tree / FOLDER).scores
    return replace(champion, scores=outcome.scores, photographs=photographs)


def photographs_seen(tree: Path, version: Version) -> frozenset[str] | None:
    """Find the test photographs that a version learned from, as they are or as another file shows them."""
    learned = versions.trained_on(version)
    if learned is None:
        return None
    manifest = pd.read_parquet(tree / "data/prepared/manifest.parquet", columns=["split", "photo", "perceptual_hash"])
    tested = manifest[manifest["split"] == "test"].drop_duplicates("photo")
    known = [hashes for hashes in learned.values() if hashes]
    bits = read("prepare.near_duplicate_bits", int)
    groups, _ = near_duplicates(from_text([*known, *tested["perceptual_hash"]]), bits)
    alike = np.isin(groups[len(known) :], groups[: len(known)])
    return frozenset(tested.loc[alike | tested["photo"].isin(learned), "photo"])


def _slowdown(candidate: ExportedModel, champion: ExportedModel, tiles: Tiles, mask_set: MaskSet) -> float:
    """Time both in turn, so that whatever else the machine does slows both."""
    import torch

    rows = np.arange(_BATCH) % min(len(tiles), len(mask_set))
    hole = torch.from_numpy(mask_set.gather(rows)).unsqueeze(1).float()
    image = torch.from_numpy(tiles.gather(rows)).permute(0, 3, 1, 2).float() / 255 * (1 - hole)
    ratios = []
    for model in (candidate, champion):
        model(image, hole)  # the first call also allocates
    for _ in range(_ROUNDS):
        seconds = []
        for model in (candidate, champion):
            start = time.perf_counter()
            model(image, hole)
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
    return float(median(ratios))


def _unfinite(model: ExportedModel, size: int) -> Iterator[str]:
    """Name the hostile pictures to which an answer is not finite."""
    import torch

    for name, image, hole in hostile(size):
        holed = torch.from_numpy(image * (1 - hole[..., None])).permute(2, 0, 1)[None].float()
        answer = model(holed, torch.from_numpy(hole)[None, None].float())
        if not bool(torch.isfinite(answer).all()):
            yield name


def hostile(size: int) -> Iterator[tuple[str, npt.NDArray[np.float32], Pixels]]:
    """Make pictures that break what is easily broken.

    Yields:
        a name, float32 (size, size, 3) in [0, 1], uint8 (size, size) with 1 = missing.
    """
    rows, columns = np.indices((size, size))
    grey = {
        "black": np.zeros((size, size)),
        "white": np.ones((size, size)),
        "checkerboard": (rows + columns) % 2,
    }
    pictures = {name: np.repeat(one[..., None], 3, 2).astype(np.float32) for name, one in grey.items()}
    pictures["noise"] = np.random.default_rng(0).random((size, size, 3), np.float32)
    one = (rows == size // 2) & (columns == size // 3)
    holes = {
        "no hole": 0 * one,
        "all": 0 * one + 1,
        "one pixel": one,
        "all but one pixel": ~one,
        "half": columns < size // 2,
    }
    for name, image in pictures.items():
        for missing, hole in holes.items():
            yield f"{name}, {missing} missing", image, hole.astype(np.uint8)
