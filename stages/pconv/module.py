"""Training of PConvNet, with partial or ordinary convolutions, in two phases; the second freezes batch norm."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.optim import Adam, Optimizer

from stages.imaging import features
from stages.pconv.losses import Weights, loss_terms
from stages.pconv.network import PConvUNet
from stages.training.module import InpaintingModule, MicroBatch
from stages.training.settings import FitSettings


class PConvSettings(FitSettings):
    """`train.unet`, `train.pconv`, `train.pconv_augmented` in params.yaml.

    Attributes:
        partial: whether convolutions are partial.
        finetune_steps: of the second phase, which freezes the encoder's batch-norm statistics; from 0.
        finetune_learning_rate: of the second phase, up to 1.
        valid_weight: of the L1 loss over known pixels.
        hole_weight: of the L1 loss over missing pixels.
        perceptual_weight: of the perceptual loss; the paper's 0.05 fits VGG16.
        style_weight: of the style losses; the paper's 120 fits VGG16.
        tv_weight: of the total variation in the hole.
        features: classifier of the perceptual and style losses.
    """

    partial: bool
    finetune_steps: int = Field(ge=0)
    finetune_learning_rate: float = Field(gt=0, le=1)
    valid_weight: float = Field(ge=0)
    hole_weight: float = Field(ge=0)
    perceptual_weight: float = Field(ge=0)
    style_weight: float = Field(ge=0)
    tv_weight: float = Field(ge=0)
    features: Literal["efficientnet_lite1", "vgg16"]

    @property
    def total_steps(self) -> int:
        """Steps of both phases together."""
        return self.steps + self.finetune_steps

    @property
    def weights(self) -> Weights:
        """The weights of the loss terms."""
        return Weights(self.valid_weight, self.hole_weight, self.perceptual_weight, self.style_weight, self.tv_weight)

    @model_validator(mode="after")
    def _has_a_loss(self) -> "PConvSettings":
        terms = (self.valid_weight, self.hole_weight, self.hole_perceptual_weight, self.perceptual_weight)
        if not any((*terms, self.style_weight)):
            raise ValueError("at least one of valid, hole, perceptual and style weight should be above 0")
        return self


class PConvModule(InpaintingModule):
    """A `PConvUNet` with its loss and schedule.

    Args:
        settings: of this training.
    """

    settings: PConvSettings

    def __init__(self, settings: PConvSettings) -> None:
        network = PConvUNet(settings.width, settings.levels, settings.partial)
        network = network.to(memory_format=torch.channels_last)
        super().__init__(network, settings, level=0.0)
        needs_features = settings.perceptual_weight or settings.style_weight
        # In a list, so that checkpoints do not contain its frozen weights.
        self._features = [features.load(settings.features)] if needs_features else []

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of the phase (§3.3: 0.0002, then 0.00005), with a decay at the end."""
        of_phase = self.settings.learning_rate if step < self.settings.steps else self.settings.finetune_learning_rate
        return of_phase * self.decay_at(step)

    def training_step(self, batches: Sequence[MicroBatch]) -> dict[str, Tensor]:
        """Minimise the weighted sum of the loss terms."""
        unet: Any = self.inner
        if self.step >= self.settings.steps and not unet.encoder_frozen:
            unet.freeze_encoder()
        extractor = self._features[0].to(batches[0].image.device) if self._features else None

        def terms_of(batch: MicroBatch) -> dict[str, Tensor]:
            prediction = self.parallel["network"](batch.image, batch.hole)
            terms = loss_terms(prediction, batch.target, batch.hole, self.settings.weights, extractor)
            return self.with_hole_terms(terms, prediction, batch)

        return self.optimise("network", batches, terms_of)

    def configure_optimizers(self) -> dict[str, Optimizer]:
        """Adam, as in the paper."""
        return {"network": Adam(self.network.parameters(), lr=self.settings.learning_rate, fused=True)}


SETTINGS, MODULE = PConvSettings, PConvModule  # for stages/train.py
