"""What the trainings of all networks share: steps, the average of the weights, validation."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from stages.imaging import features
from stages.inpainting.composite import composite
from stages.runtime import machine
from stages.training.dataset import Batch, to_float
from stages.training.harmonic import HarmonicResidual
from stages.training.settings import FitSettings

Tensors = tuple[Tensor, ...] | list[Tensor]
_TEACHER, _JUDGE = "efficientnet_lite1", "efficientnet_lite0"
_GRID = 16  # pixels that the deepest features are apart


class MicroBatch(NamedTuple):
    """Pictures that go through the networks at once; as `to_float` returns them."""

    image: Tensor
    hole: Tensor
    target: Tensor


class Validated(NamedTuple):
    """The mean squared and absolute errors and the perceptual distances of missing pixels, (N,), and the composites."""

    squared: Tensor
    absolute: Tensor
    perceptual: Tensor
    composed: Tensor


def exponential_moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
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


class InpaintingModule(nn.Module):
    """A network in training. Subclasses write `training_step`, `learning_rate_at` and `configure_optimizers`.

    Args:
        network: called with (image, hole), answers (N, 3, H, W) in [0, 1].
        settings: of the training.
        level: the zero of the network's own range.

    Attributes:
        optimizers: by name, once `setup` was called.
        seed: of the training; dropout draws from it and the step.
        step: steps done; the schedule and the batches are functions of it.
        is_warm: whether it starts from weights of another training.
    """

    def __init__(self, network: nn.Module, settings: FitSettings, level: float) -> None:
        super().__init__()
        self.network = HarmonicResidual(network, level, settings.levels) if settings.harmonic_residual else network
        self.average: AveragedModel | None = None
        if settings.ema_decay:
            update = exponential_moving_average(settings.ema_decay)
            self.average = AveragedModel(self.network, multi_avg_fn=update, use_buffers=True)
        self.settings = settings
        self.optimizers: dict[str, Optimizer] = {}
        self.seed = 0
        self.step = 0
        self.is_warm = False

    @property
    def inner(self) -> nn.Module:
        """The network itself, without what is around it."""
        return self.network.inner if isinstance(self.network, HarmonicResidual) else self.network

    @property
    def trained(self) -> nn.Module:
        """The network as validation and export see it."""
        return self.network if self.average is None else self.average.module

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step."""
        raise NotImplementedError

    def learning_rate_of(self, name: str, step: int) -> float:  # noqa: ARG002 - for those who have several
        """Return the learning rate of an optimizer at a step."""
        return self.learning_rate_at(step)

    def decay_at(self, step: int) -> float:
        """Return the share of the learning rate that is left at a step: 1, then falling linearly over `decay_steps`."""
        return min(1.0, (self.settings.total_steps - step) / max(self.settings.decay_steps, 1))

    def with_hole_perceptual(
        self, terms: dict[str, Tensor], prediction: Tensor, batch: MicroBatch
    ) -> dict[str, Tensor]:
        """Add to loss terms the mean distance of composites from targets in features, where pixels are missing.

        Pictures are rolled by a few pixels, otherwise at every step: strided features see some phases of a grid better
        than others, and a network learns to paint it.

        Args:
            terms: with "loss", their weighted sum.
            prediction: the network's answer, (N, 3, H, W).
            batch: what it answered to.
        """
        weight = self.settings.hole_perceptual_weight
        if not weight:
            return terms
        teacher = features.load(_TEACHER).to(prediction.device)
        shift = [int(each) for each in torch.randint(_GRID, (2,))]
        composed = composite(batch.target, prediction.float(), batch.hole)
        composed, target, hole = (each.roll(shift, (2, 3)) for each in (composed, batch.target, batch.hole))
        with torch.no_grad():
            wanted = features.to_unit_length(teacher(target))
        distance = features.distance_in_hole(features.to_unit_length(teacher(composed)), wanted, hole).mean()
        return {**terms, "loss": terms["loss"] + weight * distance, "hole_perceptual": distance}

    def configure_optimizers(self) -> dict[str, Optimizer]:
        """Return the optimizers by name; those of the weights that are trained first come first."""
        raise NotImplementedError

    def training_step(self, batches: Sequence[MicroBatch]) -> dict[str, Tensor]:
        """Update the weights once, and return the loss terms, detached scalars.

        Args:
            batches: equal parts of the step's batch, whose gradients are averaged.
        """
        raise NotImplementedError

    def setup(self, fabric: Fabric) -> None:
        """Move to the device that trains, and make the optimizers."""
        self._fabric = fabric
        fabric.to_device(self)
        self.optimizers = self.configure_optimizers()

    def fit_batch(self, batch: Batch) -> dict[str, Tensor]:
        """Do one step: learning rate, update, average of the weights.

        Args:
            batch: on the device.

        Returns:
            the loss terms and, as `gradient of NAME`, the gradients' norms before clipping; detached scalars.
        """
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate_of(name, self.step)
        self._norms: dict[str, Tensor] = {}
        self._reseed()
        parts = [each.chunk(machine.micro_batches()) for each in to_float(batch)]
        terms = self.training_step([MicroBatch(*each) for each in zip(*parts, strict=True)])
        if self.average is not None:
            self.average.update_parameters(self.network)
        self.step += 1
        return terms | self._norms

    def _reseed(self) -> None:
        torch.manual_seed(self.seed + self.step)  # dropout takes no generator; so an interrupted run draws the same

    def optimise(
        self, name: str, batches: Sequence[MicroBatch], terms_of: Callable[[MicroBatch], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Take one step of an optimizer down the mean gradient of some micro-batches, clipped to `clip_norm`.

        Args:
            name: of the optimizer.
            batches: equal parts of the batch.
            terms_of: returns a micro-batch's loss terms, means over its pictures; "loss" is the one to go down.

        Returns:
            the terms' means over the micro-batches, detached.
        """
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        every: list[dict[str, Tensor]] = []
        for batch in batches:
            with self._fabric.autocast():
                terms = terms_of(batch)
            self._fabric.backward(terms["loss"] / len(batches))
            every.append({term: value.detach() for term, value in terms.items()})
        weights = [each for group in optimizer.param_groups for each in group["params"]]
        self._norms[f"gradient of {name}"] = clip_grad_norm_(weights, self.settings.clip_norm)
        optimizer.step()
        return {term: torch.stack([each[term] for each in every]).mean() for term in every[0]}

    @torch.no_grad()
    def validate(self, batch: Batch) -> Validated:
        """Fill pictures as the exported model will, and score them.

        Args:
            batch: on the device.
        """
        image, hole, target = to_float(batch)
        with self._fabric.autocast():
            prediction = self.trained(image, hole)
        composed = composite(image, prediction.float().clamp(0, 1), hole)
        missing = hole.sum((1, 2, 3)).clamp(min=1) * target.shape[1]
        error = composed - target
        judge = features.load(_JUDGE).to(target.device)
        ours, theirs = (features.to_unit_length(judge(each)) for each in (composed, target))
        return Validated(
            error.square().sum((1, 2, 3)) / missing,
            error.abs().sum((1, 2, 3)) / missing,
            features.distance_in_hole(ours, theirs, hole),
            composed,
        )
