"""Settings shared by all trainings; the section of a model in params.yaml has more."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from stages.runtime.params import Settings

START = Path("data/start")  # a folder of start weights for each training
START_FILE = "start.json"  # in that folder: where they are from
WEIGHTS = "weights.safetensors"  # in that folder, and beside each trained model
# The settings that change the shape of a network's weights.
SHAPING = (
    "width", "levels", "harmonic_residual", "partial", "norm", "mirrored_texture",
    "discriminator_width", "discriminator_layers",
)  # fmt: skip


def shape_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that shape a network; those that weights of an earlier version do not name are off."""
    return {name: settings.get(name, False) for name in SHAPING}


def differing(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Return the names of the settings in which two networks have another shape."""
    one, other = shape_of(theirs), shape_of(ours)
    return [name for name in SHAPING if one[name] != other[name]]


class ModelEntry(Settings):
    """A row of `models` in params.yaml.

    Attributes:
        code: package in `stages` that trains it.
        tiles: folder of tiles to train on besides the prepared ones.
        base: file of the base weights.
    """

    code: Literal["pconv", "pix2pix"]
    tiles: Path
    base: Path


_OLD_NAMES = {
    "average_decay": "it is called `ema_decay`",
    "centred": "`harmonic_residual` replaces it and `seamless`",
    "seamless": "`harmonic_residual` replaces it and `centred`",
    "on_bad_numbers": "gradients are clipped to `clip_norm`, and non-finite numbers end a training",
}


class Criterion(Settings):
    """The section `criterion` of params.yaml, by which the best weights and the champion are chosen.

    Attributes:
        score: `perceptual` (distance in the features of a classifier) or `hole_psnr`.
        floor_db: by how many dB the hole PSNR may be below the highest so far.
    """

    score: Literal["perceptual", "hole_psnr"]
    floor_db: float = Field(ge=0)


class FitSettings(Settings):
    """Settings of a training.

    Attributes:
        start_from: `base`, the weights of `models.KEY.base`; `none`, random ones; a registered version such as
            `models:/inpaint-pconv@champion`; or a file `weights.safetensors`.
        width: channels of the first level.
        levels: halvings of the picture's sides.
        batch_size: pictures in a step.
        steps: of the first phase, or of all.
        learning_rate: of Adam, at first.
        decay_steps: the last steps, over which the learning rate falls linearly to 0; 0 for a constant one.
        hole_perceptual_weight: of the distance between composite and target in the features of EfficientNet-Lite1,
            where pixels are missing.
        repetition_weight: of the loss for patterns that repeat in a hole and not in the target; 0 = none.
        clip_norm: longer gradients are scaled down to this norm.
        harmonic_residual: the network paints on a membrane and meets the known pixels (`harmonic.py`).
        ema_decay: of the weights' moving average, which is exported; 0 for none.
        validate_every: steps.
        patience: validations without a better score before training ends; 0 for never.
        checkpoint_every_s: seconds.
    """

    start_from: str
    width: int = Field(ge=4, le=256)
    levels: int = Field(ge=2, le=9)
    batch_size: int = Field(ge=2, le=4096)
    steps: int = Field(ge=1, le=10**9)
    learning_rate: float = Field(gt=0, le=1)
    decay_steps: int = Field(ge=0)
    hole_perceptual_weight: float = Field(ge=0)
    repetition_weight: float = Field(ge=0)
    clip_norm: float = Field(gt=0)
    harmonic_residual: bool
    ema_decay: float = Field(ge=0, lt=1)
    validate_every: int = Field(ge=1)
    patience: int = Field(ge=0)
    checkpoint_every_s: float = Field(gt=0)

    @model_validator(mode="before")
    @classmethod
    def _refuse_old_names(cls, given: Any) -> Any:
        for name, instead in _OLD_NAMES.items():
            if isinstance(given, dict) and name in given:
                raise ValueError(f"`{name}` is no longer a setting: {instead}")
        return given

    @property
    def total_steps(self) -> int:
        """Steps of all phases together."""
        return self.steps

    @model_validator(mode="after")
    def _decay_fits(self) -> Self:
        if self.decay_steps > self.total_steps:
            raise ValueError(f"`decay_steps` should be at most the {self.total_steps} steps, but is {self.decay_steps}")
        return self

    @model_validator(mode="after")
    def _validated_at_least_once(self) -> Self:
        if self.validate_every > self.total_steps:
            raise ValueError(
                f"`validate_every` should be at most the {self.total_steps} steps, or nothing is validated"
            )
        return self
