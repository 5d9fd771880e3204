"""Pix2Pix in training: discriminator, then generator, each with its own optimiser."""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Adam, Optimizer

from stages.inpainting.composite import composite
from stages.pix2pix.losses import Objective, discriminator_loss, judge, l1
from stages.pix2pix.network import Generator, Norm, PatchDiscriminator, condition, to_signed
from stages.training.module import InpaintingModule, MicroBatch
from stages.training.settings import FitSettings

BETAS = (0.5, 0.999)


class Pix2PixSettings(FitSettings):
    """`train.pix2pix` in params.yaml."""

    discriminator_width: int = Field(ge=4, le=256)
    discriminator_layers: int = Field(ge=1, le=5)
    norm: Norm
    infer_norm: str = Field(pattern="^(running|batch)$")
    infer_dropout: bool
    objective: Objective
    l1_weight: float = Field(ge=0)


class Pix2PixModule(InpaintingModule):
    """A `Generator` and its `PatchDiscriminator`, with their losses and schedule.

    Args:
        settings: of this training.
    """

    def __init__(self, settings: Pix2PixSettings) -> None:
        network = Generator(settings.width, settings.levels, settings.norm)
        network.set_test_time(settings.infer_norm == "batch", settings.infer_dropout)
        network = network.to(memory_format=torch.channels_last)
        super().__init__(network, settings, level=0.5)
        self.settings = settings
        discriminator = PatchDiscriminator(settings.discriminator_width, settings.discriminator_layers, settings.norm)
        self.discriminator = discriminator.to(memory_format=torch.channels_last)

    def learning_rate_at(self, step: int) -> float:
        """Constant, then falling linearly to 0 over the last `decay_steps`."""
        return self.settings.learning_rate * self.decay_at(step)

    def training_step(self, batches: Sequence[MicroBatch]) -> dict[str, Tensor]:
        """The discriminator learns from an answer that is cut off from the generator; then the generator learns."""
        judges, objective = self.discriminator, self.settings.objective
        answers: list[Tensor] = []  # of an undivided batch, which is answered once

        def of_discriminator(batch: MicroBatch) -> dict[str, Tensor]:
            known, real = condition(batch.image, batch.hole), to_signed(batch.target)
            with torch.set_grad_enabled(len(batches) == 1):
                filled = self.network(batch.image, batch.hole)
            if len(batches) == 1:
                answers.append(filled)
            fake = to_signed(filled).detach()
            return {"loss": discriminator_loss(judges(known, real), judges(known, fake), objective)}

        def of_generator(batch: MicroBatch) -> dict[str, Tensor]:
            filled = answers[0] if answers else self.network(batch.image, batch.hole)
            fooled = judges(condition(batch.image, batch.hole), to_signed(filled))
            gan, distance = judge(fooled, True, objective), l1(filled.float(), batch.target)
            composed = composite(batch.target, filled.detach().float(), batch.hole)
            loss = gan + self.settings.l1_weight * distance
            return {"loss": loss, "gan": gan, "l1": distance, "l1_composite": l1(composed, batch.target)}

        loss_d = self.optimise("discriminator", batches, of_discriminator)["loss"]
        judges.requires_grad_(False)
        terms = self.optimise("generator", batches, of_generator)
        judges.requires_grad_(True)
        return {**terms, "discriminator": loss_d}

    def configure_optimizers(self) -> dict[str, Optimizer]:
        """Adam for each, with the paper's momentum."""
        networks = {"generator": self.network, "discriminator": self.discriminator}
        rate = self.settings.learning_rate
        return {name: Adam(n.parameters(), lr=rate, betas=BETAS, fused=True) for name, n in networks.items()}


SETTINGS, MODULE = Pix2PixSettings, Pix2PixModule  # what stages/train.py asks for
