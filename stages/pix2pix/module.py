"""Training of Pix2Pix: first the discriminator, then the generator, each with its own optimizer."""

from collections.abc import Sequence
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from stages.inpainting.composite import composite
from stages.pix2pix.losses import Objective, discriminator_loss, generator_loss, l1, share_of
from stages.pix2pix.network import Generator, Norm, PatchDiscriminator, condition, to_signed
from stages.training.module import InpaintingModule, MicroBatch
from stages.training.settings import FitSettings

BETAS = (0.5, 0.999)


class Pix2PixSettings(FitSettings):
    """`train.pix2pix` in params.yaml.

    Attributes:
        discriminator_width: channels of its first layer, 4 to 256.
        discriminator_layers: strided layers, 1 to 5; more of them judge larger patches.
        norm: batch or instance normalisation.
        infer_norm: batch-norm statistics at test time: `running` averages, or those of the `batch` as in the paper.
        infer_dropout: whether dropout stays on at test time, as in the paper.
        mirrored_texture: whether the generator is shown texture mirrored into the holes, and adds a share of it.
        objective: of the GAN: `vanilla` as in the paper, or `least_squares`.
        judges_holes: whether the discriminator judges composites, and only missing pixels as fake.
        gan_weight: of the GAN loss.
        l1_weight: of the L1 loss.
        discriminator_learning_rate: of Adam, up to 1.
    """

    discriminator_width: int = Field(ge=4, le=256)
    discriminator_layers: int = Field(ge=1, le=5)
    norm: Norm
    infer_norm: str = Field(pattern="^(running|batch)$")
    infer_dropout: bool
    mirrored_texture: bool
    objective: Objective
    judges_holes: bool
    gan_weight: float = Field(ge=0)
    l1_weight: float = Field(ge=0)
    discriminator_learning_rate: float = Field(gt=0, le=1)

    @model_validator(mode="after")
    def _has_texture_to_mirror(self) -> Self:
        if self.mirrored_texture and not self.harmonic_residual:
            raise ValueError(
                "`mirrored_texture: true` needs `harmonic_residual: true`; set both, or `mirrored_texture: false`"
            )
        return self


class Pix2PixModule(InpaintingModule):
    """A `Generator` and its `PatchDiscriminator`, with their losses and schedule.

    Args:
        settings: of this training.
    """

    settings: Pix2PixSettings

    def __init__(self, settings: Pix2PixSettings) -> None:
        network = Generator(settings.width, settings.levels, settings.norm, mirrors=settings.mirrored_texture)
        network.set_test_time(settings.infer_norm == "batch", settings.infer_dropout)
        network = network.to(memory_format=torch.channels_last)
        super().__init__(network, settings, level=0.5)
        discriminator = PatchDiscriminator(settings.discriminator_width, settings.discriminator_layers, settings.norm)
        self.discriminator = discriminator.to(memory_format=torch.channels_last)

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate: constant, then falling linearly to 0 over the last `decay_steps`."""
        return self.settings.learning_rate * self.decay_at(step)

    def learning_rate_of(self, name: str, step: int) -> float:
        """Return the learning rate of an optimizer; that of the discriminator has the same decay."""
        own = self.settings.discriminator_learning_rate * self.decay_at(step)
        return own if name == "discriminator" else self.learning_rate_at(step)

    def training_step(self, batches: Sequence[MicroBatch]) -> dict[str, Tensor]:
        """Update the discriminator with a detached prediction, then the generator."""
        discriminator, settings = self.parallel["discriminator"], self.settings
        predictions: list[Tensor] = []  # of an undivided batch, computed only once

        def of_discriminator(batch: MicroBatch) -> dict[str, Tensor]:
            known, real = condition(batch.image, batch.hole), to_signed(batch.target)
            with torch.set_grad_enabled(len(batches) == 1):
                prediction = self.parallel["network"](batch.image, batch.hole)
            if len(batches) == 1:
                predictions.append(prediction)
            logits, fakeness = self._judged(prediction.detach(), batch, discriminator)
            return {"loss": discriminator_loss(discriminator(known, real), logits, fakeness, settings.objective)}

        def of_generator(batch: MicroBatch) -> dict[str, Tensor]:
            prediction = predictions[0] if predictions else self.parallel["network"](batch.image, batch.hole)
            logits, fakeness = self._judged(prediction, batch, self.discriminator)
            gan = generator_loss(logits, fakeness, settings.objective)
            distance = l1(prediction.float(), batch.target)
            composed = composite(batch.target, prediction.detach().float(), batch.hole)
            loss = settings.gan_weight * gan + settings.l1_weight * distance
            terms = {"loss": loss, "gan": gan, "l1": distance, "l1_composite": l1(composed, batch.target)}
            return self.with_hole_terms(terms, prediction, batch)

        loss_d = self.optimise("discriminator", batches, of_discriminator)["loss"]
        self.discriminator.requires_grad_(False)
        terms = self.optimise("generator", batches, of_generator)
        self.discriminator.requires_grad_(True)
        return {**terms, "discriminator": loss_d}

    def _judged(self, prediction: Tensor, batch: MicroBatch, discriminator: nn.Module) -> tuple[Tensor, Tensor]:
        """Return the logits of a prediction, and the generated share of each patch.

        The paper judges predictions. With `judges_holes`, composites are judged, and only missing pixels are generated.
        """
        holes_alone = self.settings.judges_holes
        picture = composite(batch.target, prediction.float(), batch.hole) if holes_alone else prediction
        logits: Tensor = discriminator(condition(batch.image, batch.hole), to_signed(picture))
        return logits, share_of(batch.hole, logits) if holes_alone else torch.ones_like(logits)

    def configure_optimizers(self) -> dict[str, Optimizer]:
        """Return Adam for each network, with the paper's momentum."""
        networks = {"generator": self.network, "discriminator": self.discriminator}
        return {
            name: Adam(network.parameters(), lr=self.learning_rate_of(name, 0), betas=BETAS, fused=True)
            for name, network in networks.items()
        }


SETTINGS, MODULE = Pix2PixSettings, Pix2PixModule  # for stages/train.py
