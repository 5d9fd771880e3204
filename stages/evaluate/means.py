"""Means of the scores over pairs."""

import pandas as pd

from stages.imaging.holes import BUCKETS

HEADLINES = ("hole_psnr", "psnr", "ssim", "l1_percent", "hole_l1_percent", "hole_ssim", "sharpness")
OPTIONAL = ("perceptual", "lattice", "told_apart", "lpips")  # if params.yaml enables them


def summarise(scores: pd.DataFrame) -> dict[str, float]:
    """Average the pairs of one method.

    Args:
        scores: one row per pair, with `bucket`, `border`, `milliseconds` and the scores of `score`.

    Returns:
        the mean of each headline score, `ms` per picture if known, and the hole PSNR by ratio (`hole_psnr_10`:
        holes up to 10 %) and by border (`hole_psnr_border`, `hole_psnr_inside`).
    """
    hole_psnr = scores["hole_psnr"]
    ratios = {
        f"hole_psnr_{round(100 * high)}": float(hole_psnr[scores["bucket"] == bucket].mean())
        for bucket, (_, high) in enumerate(BUCKETS)
    }
    timed = scores["milliseconds"].dropna()
    return {
        **{name: float(scores[name].mean()) for name in _there(scores)},
        **({"ms": float(timed.mean())} if len(timed) else {}),
        **ratios,
        "hole_psnr_border": float(hole_psnr[scores["border"]].mean()),
        "hole_psnr_inside": float(hole_psnr[~scores["border"]].mean()),
    }


def _there(scores: pd.DataFrame) -> list[str]:
    return [*HEADLINES, *(name for name in OPTIONAL if name in scores)]


def by_ratio(scores: pd.DataFrame) -> pd.DataFrame:
    """Average the pairs of one method within each bucket of the hole ratio.

    Args:
        scores: as for `summarise`.

    Returns:
        one row per bucket: `holes` (its name, such as "10-20 %"), `ratio_percent` (its middle), the
        headline scores, and `hole_psnr_border` and `hole_psnr_inside`; no rows without scores.
    """
    rows = []
    if scores.empty:
        return pd.DataFrame(columns=["holes", "ratio_percent", *HEADLINES, "hole_psnr_border", "hole_psnr_inside"])
    for bucket, (low, high) in enumerate(BUCKETS):
        cell = scores[scores["bucket"] == bucket]
        rows.append(
            {
                "holes": f"{100 * low:.0f}-{100 * high:.0f} %",
                "ratio_percent": round(50 * (low + high), 1),
                **{name: cell[name].mean() for name in _there(scores)},
                "hole_psnr_border": cell.loc[cell["border"], "hole_psnr"].mean(),
                "hole_psnr_inside": cell.loc[~cell["border"], "hole_psnr"].mean(),
            }
        )
    return pd.DataFrame(rows)
