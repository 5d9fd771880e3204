"""What the Lightning modules of all trainings share: counting steps, averaging weights, validating."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import lightning
import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim.swa_utils import AveragedModel

from stages.fitting import together
from stages.fitting.centred import Centred
from stages.fitting.dataset import Batch, to_float
from stages.fitting.seamless import Seamless
from stages.fitting.settings import FitSettings
from stages.restoring.composite import composite
from stages.running import machine

Tensors = tuple[Tensor, ...] | list[Tensor]


class Piece(NamedTuple):
    """Pictures that go through the networks at once; as `to_float` returns them."""

    image: Tensor
    hole: Tensor
    target: Tensor


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Return the update of an exponential moving average that forgets the random start.

    The decay after n updates is min(decay, (1 + n) / (10 + n)), so that short trainings are averaged too.
    """

    def update(averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(updates)) / (10 + int(updates)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, share)
        else:  # batch norm counts its batches
            torch._foreach_copy_(averaged, current)

    return update


def surround(network: nn.Module, settings: FitSettings, level: float) -> nn.Module:
    """Put around a network what the settings say; it has no weights, and is the same for every network.

    Args:
        network: called with (image, hole), answers (N, 3, H, W).
        settings: of the training.
        level: the zero of the network's own range, for `Centred`.
    """
    if settings.centred:
        network = Centred(network, level, settings.levels)
    return Seamless(network, settings.levels) if settings.seamless else network


class InpaintingModule(lightning.LightningModule):
    """A network in training. Subclasses write `training_step` between `begin_step` and `end_step`.

    Optimisation is manual: a step reads from first line to last, and a GAN's two optimisers need it anyway.

    Args:
        network: called with (image, hole), answers (N, 3, H, W) in [0, 1].
        average_decay: of the weights' moving average, which validation and export use; 0 uses the weights themselves.

    Attributes:
        seed: of the training; dropout draws from it and the step.
        step: steps done; the schedule and the batches are functions of it.
        slowdowns: factors of optimisers' learning rates, by name; 1 unless the training was rolled back.
        terms: the last step's loss terms, detached scalars.
        gradients: the norms of the last step's gradients, scalars by the optimiser's name.
        scores: of the last validation.
        samples: target, image and composite of the first validation pictures, (N, 3, H, W) each.
    """

    optimizer_names: tuple[str, ...] = ("network",)

    def __init__(self, network: nn.Module, average_decay: float) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network = network
        self.average: nn.Module | None = None
        if average_decay:
            self.average = AveragedModel(network, multi_avg_fn=moving_average(average_decay), use_buffers=True)
        self.seed = 0
        self.step = 0
        self.slowdowns: dict[str, float] = {}
        self.terms: dict[str, Tensor] = {}
        self.gradients: dict[str, Tensor] = {}
        self.scores: dict[str, float] = {}
        self.samples: tuple[Tensor, Tensor, Tensor] | None = None
        self._mse: list[Tensor] = []
        self._l1: list[Tensor] = []

    @property
    def inner(self) -> nn.Module:
        """The network itself, without what is around it."""
        network = self.network
        while isinstance(network, Centred | Seamless):
            network = network.inner
        return network

    @property
    def trained(self) -> nn.Module:
        """The network as validation and export see it."""
        if isinstance(self.average, AveragedModel):
            return self.average.module
        return self.network

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step."""
        raise NotImplementedError

    def begin_step(self, batch: Batch) -> list[Piece]:
        """Set the learning rate, and return the batch's pieces: one, unless the environment asks for more."""
        for name, optimizer in zip(self.optimizer_names, self.trainer.optimizers, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate_at(self.step) * self.slowdowns.get(name, 1.0)
        self.gradients = {}
        self._seed()
        parts = [each.chunk(machine.pieces()) for each in to_float(batch)]
        return [Piece(*each) for each in zip(*parts, strict=True)]

    def _seed(self) -> None:
        torch.manual_seed(self.seed + self.step)  # dropout takes no generator; so an interrupted run draws the same

    def end_step(self, terms: dict[str, Tensor]) -> None:
        """Keep the loss terms for the history, take the new weights into the average, count the step."""
        self.terms, self.gradients = together.mean_of(terms), together.mean_of(self.gradients)
        if isinstance(self.average, AveragedModel):
            self.average.update_parameters(self.network)
        self.step += 1

    def optimise(
        self, name: str, pieces: Sequence[Piece], terms_of: Callable[[Piece], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Take one step of the optimiser called `name` down the gradient of a batch's loss, whose norm is kept.

        Args:
            name: one of `optimizer_names`.
            pieces: of the batch, as many pictures in each.
            terms_of: returns a piece's loss terms, means over its pictures, by name; "loss" is the one to go down.

        Returns:
            the terms' means over the pieces, detached.
        """
        optimizers: Any = self.optimizers()
        optimizer = optimizers[self.optimizer_names.index(name)] if isinstance(optimizers, list) else optimizers
        optimizer.zero_grad()
        every: list[dict[str, Tensor]] = []
        for number, piece in enumerate(pieces):
            if len(pieces) > 1:
                self._seed()
            with together.piece(number, len(pieces)):
                terms = terms_of(piece)
                self.manual_backward(terms["loss"] / len(pieces))
            every.append({name: term.detach() for name, term in terms.items()})
        gradients = [each.grad for group in optimizer.param_groups for each in group["params"] if each.grad is not None]
        together.average_gradients(gradients)
        self.gradients[name] = get_total_norm(gradients)
        optimizer.step()
        return {term: torch.stack([each[term] for each in every]).mean() for term in every[0]}

    def on_validation_epoch_start(self) -> None:
        self._mse, self._l1 = [], []
        self.trained.eval()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Score the composite's missing pixels, picture by picture; processes take batches in turn."""
        if batch_idx % together.world() != together.rank():
            nothing = torch.zeros(len(batch["hole"]), device=self.device)
            self._mse.append(nothing)
            self._l1.append(nothing)
            return
        image, hole, target = to_float(batch)
        composed = composite(image, self.trained(image, hole).float().clamp(0, 1), hole)
        missing = hole.sum((1, 2, 3)).clamp(min=1) * target.shape[1]
        difference = composed - target
        self._mse.append(difference.square().sum((1, 2, 3)) / missing)
        self._l1.append(difference.abs().sum((1, 2, 3)) / missing)
        if batch_idx == 0:
            self.samples = (target, image, composed)

    def on_validation_epoch_end(self) -> None:
        """Average over pictures, never over batches, of which the last is smaller."""
        mse, l1 = together.total(torch.cat(self._mse)), together.total(torch.cat(self._l1))
        psnr = -10 * mse.clamp(min=1e-10).log10()
        scores = {"val_hole_psnr": psnr.mean().item(), "val_hole_l1_percent": 100 * l1.mean().item()}
        self.scores = together.from_first(lambda: scores)  # processors may differ in the last bit, decisions may not
