"""The settings that every training has; each model's own section of params.yaml adds to them."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from stages.running.params import Settings


class ModelEntry(Settings):
    """A line of `models`: whose code trains it, and on which tiles beside the prepared ones."""

    code: Literal["pconv", "pix2pix"]
    tiles: Path


class FitSettings(Settings):
    """What a training of any network is told."""

    width: int = Field(ge=4, le=256)
    levels: int = Field(ge=2, le=9)
    batch_size: int = Field(ge=2, le=4096)
    steps: int = Field(ge=1, le=10**9)
    learning_rate: float = Field(gt=0, le=1)
    centred: bool
    seamless: bool
    average_decay: float = Field(ge=0, lt=1)
    validate_every: int = Field(ge=1)
    patience: int = Field(ge=0)
    checkpoint_every_s: float = Field(gt=0)
    on_bad_numbers: Literal["rollback", "stop"]

    @property
    def total_steps(self) -> int:
        """Steps of all phases together."""
        return self.steps

    @model_validator(mode="after")
    def _validated_at_least_once(self) -> Self:
        if self.validate_every > self.total_steps:
            raise ValueError(
                f"`validate_every` should be at most the {self.total_steps} steps, or nothing is validated"
            )
        return self
