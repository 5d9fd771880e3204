"""The section `retrain` of params.yaml. No stage reads it, so a change of it makes none run again."""

from typing import Literal

from pydantic import Field

from stages.retrain.gate import GateParams
from stages.runtime.params import Settings


class RetrainParams(Settings):
    """The section `retrain` of params.yaml.

    Attributes:
        inbox: folder of new photographs.
        refused: folder for photographs that are refused.
        refuse_distance: new photographs are refused untrained if their distance statistic exceeds this, up to 1.
        refuse_loss_db: they are refused if a model significantly lost more hole PSNR with them, dB, above 0.
        least_photos: photographs needed to measure drift, at least 2.
        promote: `automatic`, or `ask` to let candidates wait for approval.
        start_from: what candidates start from: `champion`, the champion of their key; `base`; or `none`.
        min_batch: new photographs to wait for, at least 1.
        max_wait_days: longest wait for them, days.
        gate: limits for promotion.
    """

    inbox: str = Field(min_length=1)
    refused: str = Field(min_length=1)
    refuse_distance: float = Field(gt=0, le=1)
    refuse_loss_db: float = Field(gt=0)
    least_photos: int = Field(ge=2)
    promote: Literal["automatic", "ask"]
    start_from: Literal["champion", "base", "none"]
    min_batch: int = Field(ge=1)
    max_wait_days: float = Field(ge=0)
    gate: GateParams
