"""The section `retrain` of params.yaml. No stage reads it, so a change of it makes none run again."""

from typing import Literal

from pydantic import Field

from stages.retrain.gate import GateParams
from stages.runtime.params import Settings


class RetrainParams(Settings):
    """What one call of the scheduler does."""

    inbox: str = Field(min_length=1)
    refused: str = Field(min_length=1)
    refuse_distance: float = Field(gt=0, le=1)
    refuse_loss_db: float = Field(gt=0)
    least_photos: int = Field(ge=2)
    promote: Literal["automatic", "ask"]
    min_batch: int = Field(ge=1)
    max_wait_days: float = Field(ge=0)
    gate: GateParams
