"""Files for DVC: few numbers for `dvc metrics` and `dvc exp show`, one row per point for `dvc plots`."""

from collections.abc import Sequence

import pandas as pd

from stages.report import photographs
from stages.report.comparison import beyond_reference
from stages.report.reading import Evaluation, Training


def metrics(evaluations: Sequence[Evaluation], found: photographs.Answered | None) -> dict[str, dict[str, float]]:
    """Return the scores by which experiments are compared: of trained models, and of the best classical method.

    Returns:
        by score, then by method: `photo_distance` (perceptual distance) and `photo_psnr_db` (hole PSNR) on photographs
        if they were measured, or else `tile_psnr_db`.
    """
    tables: Sequence[Evaluation | photographs.Entry] = evaluations
    names = {"tile_psnr_db": "hole_psnr"}
    if found:
        tables = [one for one in found.entries if not one.is_plain]
        names = {"photo_distance": "perceptual", "photo_psnr_db": "hole_psnr"}
    means = {
        name: {one.key: float(one.scores[column].mean()) for one in tables}
        for name, column in names.items()
        if all(column in one.scores for one in tables)
    }
    trained = {one.key for one in tables if one.trained}
    few = {}
    for name, by_method in means.items():
        best = min if name == "photo_distance" else max
        classical = [value for key, value in by_method.items() if key not in trained]
        shown = {key: value for key, value in by_method.items() if key in trained}
        shown |= {"best_classical": best(classical)} if classical else {}
        few[name] = {key: round(value, 4) for key, value in shown.items()}
    return few


def gain_by_ratio(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """Return hole PSNR minus that of the best classical method: columns `method`, `missing_percent`, `gain_db`."""
    percent = evaluations[0].by_ratio["ratio_percent"]
    gains = beyond_reference(evaluations, "hole_psnr").items()
    return pd.concat(pd.DataFrame({"method": key, "missing_percent": percent, "gain_db": gain}) for key, gain in gains)


def curves(trainings: Sequence[Training], table: str, column: str) -> pd.DataFrame:
    """Return one curve per training: columns `method`, `step` and `column`.

    Args:
        trainings: in the order wanted.
        table: `history` or `validation`.
        column: of that table.
    """
    parts = [getattr(one, table)[["step", column]].assign(method=one.key) for one in trainings]
    return pd.concat(parts)[["method", "step", column]] if parts else pd.DataFrame(columns=["method", "step", column])
