"""Measures a candidate and the champion on the same test: the same pairs, the same photographs, the same minute.

candidate = find_candidate(tree, "pconv", "inpaint-pconv")
case = measure(tree, "pconv", candidate, champion, classical=["telea", "biharmonic"])
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.comparing.scores import by_default
from stages.evaluate.evaluation import Measures, PairTest, Subject, evaluate
from stages.evaluate.photographs import FOLDER, VARIANTS, evaluate_photographs, read_questions
from stages.imaging.holes import MaskSet
from stages.imaging.manifest import MANIFEST, hashes_of
from stages.imaging.near import from_text, near_duplicates
from stages.imaging.shards import Tiles
from stages.inpainting import inpainter, soundness
from stages.retrain.gate import FAULTS_SAID, Case, Champion
from stages.runtime import machine
from stages.runtime.errors import InputError
from stages.runtime.files import sha256
from stages.runtime.params import read
from stages.tracking import aliases, versions
from stages.tracking.versions import Version

if TYPE_CHECKING:  # most calls try nothing, and torch takes a second to import
    from stages.inpainting.exported import ExportedModel

_TIMED_ROUNDS = 7
_TIMED_BATCH = 16


def find_candidate(tree: Path, key: str, name: str) -> Version:
    """Return the registered version of a model that was just trained.

    Args:
        tree: where the pipeline ran.
        key: of the model.
        name: of the registered model.

    Raises:
        InputError: no version has the model's weights.
        TrackingError: MLflow cannot be reached.
    """
    digest = sha256(tree / f"data/models/{key}/model.pt2")
    found = [version for version in versions.registered(name) if version.digest == digest]
    if not found:
        raise InputError(
            f"{name} has no version with the weights {digest[:12]}: publish could not register it; see above"
        )
    return found[-1]


def measure(tree: Path, key: str, candidate: Version, champion: Version | None, classical: Sequence[str]) -> Case:
    """Measure a candidate, and the champion on the candidate's test.

    Args:
        tree: where the pipeline ran.
        key: of the model.
        candidate: its registered version.
        champion: the version to compare it with; None if there is none.
        classical: the methods that need no training.

    Returns:
        everything that the gate decides on.

    Raises:
        InputError: the candidate cannot be loaded.
        TrackingError: MLflow cannot be reached.
    """
    from stages.inpainting import exported

    folder = tree / f"data/models/{key}"
    model, tiles = exported.load(folder / "model.pt2", machine.device()), Tiles([tree / "data/prepared/test"])
    photographs = pd.read_parquet(tree / f"data/evaluation/{key}/photographs.parquet")
    case = Case(
        scores=_read_scores(tree, key),
        champion=None,
        classical={method: table for method in classical if len(table := _read_scores(tree, method))},
        photographs=by_default(photographs) if len(photographs) else None,
        unfinite=tuple(soundness.find_unfinite(model, tiles.size)),
        unfit=tuple(islice(soundness.find_faults(inpainter.load(folder)), FAULTS_SAID + 1)),
        vetoed=candidate.tags.get(aliases.VETO, ""),
    )
    if champion is None:
        return case
    judged = Champion(champion.number, None, seen=photographs_seen(tree, champion))
    mask_set = MaskSet(tree / "data/masks/test.npy")
    try:
        with versions.fetched(champion) as files:
            slowdown = _slowdown(model, exported.load(files / "model.pt2", machine.device()), tiles, mask_set)
            return replace(case, champion=_score(judged, files, tree), slowdown=slowdown)
    except InputError as error:
        return replace(case, champion=replace(judged, problem=str(error)))


def _read_scores(tree: Path, method: str) -> pd.DataFrame:
    return pd.read_parquet(tree / f"data/evaluation/{method}/scores.parquet")


def photographs_seen(tree: Path, version: Version) -> frozenset[str] | None:
    """Find the test photographs that a version was trained on, also as near duplicates.

    Returns:
        their SHA-256; None if nobody knows what the version was trained on.
    """
    learned = versions.trained_on(version)
    if learned is None:
        return None
    tested = hashes_of(tree / MANIFEST, ["test"])
    known = [hashes for hashes in learned.values() if hashes]
    bits = read("prepare.near_duplicate_bits", int)
    groups, _ = near_duplicates(from_text([*known, *tested.values()]), bits)
    alike = np.isin(groups[len(known) :], groups[: len(known)])
    return frozenset(photo for photo, is_alike in zip(tested, alike, strict=True) if is_alike or photo in learned)


def _slowdown(candidate: "ExportedModel", champion: "ExportedModel", tiles: Tiles, mask_set: MaskSet) -> float:
    """Return the ratio of the two models' times; they are timed in turn, so that other load slows both."""
    import torch

    rows = np.arange(_TIMED_BATCH) % min(len(tiles), len(mask_set))
    hole = torch.from_numpy(mask_set.gather(rows)).unsqueeze(1).float()
    image = torch.from_numpy(tiles.gather(rows)).permute(0, 3, 1, 2).float() / 255 * (1 - hole)
    ratios = []
    for model in (candidate, champion):
        model(image, hole)  # the first call also allocates
    for _ in range(_TIMED_ROUNDS):
        seconds = []
        for model in (candidate, champion):
            start = time.perf_counter()
            model(image, hole)
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
    return float(median(ratios))


def _score(champion: Champion, files: Path, tree: Path) -> Champion:
    """Score the champion, a folder of files, on the candidate's pairs and photographs."""
    subject = Subject("champion", str(files / "model.pt2"), Measures())
    test, local = PairTest(tree / "data/prepared/test", tree / "data/masks/test.npy", num_worst=0), subject.budget()
    scored = replace(champion, scores=evaluate(subject, test, pd.read_csv(tree / "data/pairs.csv"), local).scores)
    if not (tree / FOLDER).is_dir():
        return scored
    by_onnx = files / "model.onnx"  # as the candidate's; the files are of this machine alone, so workers are not asked
    if by_onnx.is_file():
        subject, local = replace(subject, filled_by=str(by_onnx)), replace(local, all_cores=False)
    outcome = evaluate_photographs(subject, read_questions(tree / FOLDER), local, tree / FOLDER, VARIANTS[:1])
    return replace(scored, photographs=outcome.scores)
