"""Pix2Pix in training: discriminator, then generator, each with its own optimiser."""

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.optim import Adam

from stages.fitting.dataset import Batch
from stages.fitting.module import InpaintingModule, Piece, surround
from stages.fitting.settings import FitSettings
from stages.pix2pix.losses import Objective, discriminator_loss, judge, l1
from stages.pix2pix.network import Generator, Norm, PatchDiscriminator, condition, to_signed
from stages.restoring.composite import composite

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
    decay_steps: int = Field(ge=0)

    @model_validator(mode="after")
    def _decay_fits(self) -> "Pix2PixSettings":
        if self.decay_steps > self.steps:
            raise ValueError(f"`decay_steps` should be at most `steps`, {self.steps}, but is {self.decay_steps}")
        return self


class Pix2PixModule(InpaintingModule):
    """A `Generator` and its `PatchDiscriminator`, with their losses and schedule.

    Args:
        settings: of this training.
    """

    optimizer_names = ("generator", "discriminator")

    def __init__(self, settings: Pix2PixSettings) -> None:
        network = Generator(settings.width, settings.levels, settings.norm)
        network.set_test_time(settings.infer_norm == "batch", settings.infer_dropout)
        network = network.to(memory_format=torch.channels_last)
        super().__init__(surround(network, settings, level=0.5), settings.average_decay)
        self.settings = settings
        discriminator = PatchDiscriminator(settings.discriminator_width, settings.discriminator_layers, settings.norm)
        self.discriminator = discriminator.to(memory_format=torch.channels_last)

    def learning_rate_at(self, step: int) -> float:
        """Constant, then falling linearly to 0 over the last `decay_steps`."""
        left = self.settings.steps - step
        return self.settings.learning_rate * min(1.0, left / max(self.settings.decay_steps, 1))

    def training_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002 - the signature is Lightning's
        """The discriminator learns from an answer that is cut off from the generator; then the generator learns."""
        pieces = self.begin_step(batch)
        judges, objective = self.discriminator, self.settings.objective
        answers: list[Tensor] = []  # of an undivided batch, which is answered once

        def of_discriminator(piece: Piece) -> dict[str, Tensor]:
            known, real = condition(piece.image, piece.hole), to_signed(piece.target)
            with torch.set_grad_enabled(len(pieces) == 1):
                filled = self.network(piece.image, piece.hole)
            if len(pieces) == 1:
                answers.append(filled)
            fake = to_signed(filled).detach()
            return {"loss": discriminator_loss(judges(known, real), judges(known, fake), objective)}

        def of_generator(piece: Piece) -> dict[str, Tensor]:
            filled = answers[0] if answers else self.network(piece.image, piece.hole)
            fooled = judges(condition(piece.image, piece.hole), to_signed(filled))
            gan, distance = judge(fooled, True, objective), l1(filled.float(), piece.target)
            composed = composite(piece.target, filled.detach().float(), piece.hole)
            loss = gan + self.settings.l1_weight * distance
            return {"loss": loss, "gan": gan, "l1": distance, "l1_composite": l1(composed, piece.target)}

        loss_d = self.optimise("discriminator", pieces, of_discriminator)["loss"]
        judges.requires_grad_(False)
        terms = self.optimise("generator", pieces, of_generator)
        judges.requires_grad_(True)
        self.end_step({**terms, "discriminator": loss_d})

    def configure_optimizers(self) -> list[Adam]:
        """Adam for each, with the paper's momentum."""
        networks = (self.network, self.discriminator)
        return [Adam(n.parameters(), lr=self.settings.learning_rate, betas=BETAS, fused=True) for n in networks]
