"""Base class of the training modules: steps, moving average of the weights, validation."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from stages.imaging import features
from stages.imaging.repetition import repetition_loss
from stages.inpainting.composite import composite
from stages.runtime import machine
from stages.training.dataset import Batch, to_float
from stages.training.fabric import Fabric
from stages.training.harmonic import HarmonicResidual
from stages.training.settings import FitSettings

Tensors = tuple[Tensor, ...] | list[Tensor]
_TEACHER, _JUDGE = "efficientnet_lite1", "efficientnet_lite0"
_GRID = 16  # stride of the deepest features, in pixels


class MicroBatch(NamedTuple):
    """Pictures that pass through the networks at once, as `to_float` returns them."""

    image: Tensor
    hole: Tensor
    target: Tensor


class Validated(NamedTuple):
    """Mean squared errors, mean absolute errors and perceptual distances of missing pixels, (N,), and composites."""

    squared: Tensor
    absolute: Tensor
    perceptual: Tensor
    composed: Tensor


def exponential_moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Return the update of an exponential moving average with warm-up.

    The decay after n updates is min(decay, (1 + n) / (10 + n)), so that the average soon forgets random start weights.
    """

    def update(averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(updates)) / (10 + int(updates)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, share)
        else:  # batch norm counts its batches
            torch._foreach_copy_(averaged, current)

    return update


def _distributed(network: nn.Module, name: str, fabric: Fabric) -> DistributedDataParallel:
    """Wrap a network: its running statistics are those of process 0, but a discriminator's, which nothing uses."""
    devices = [fabric.device] if fabric.device.type == "cuda" else None
    # A discriminator runs twice before its backward pass, which must not find other statistics than the forward pass.
    return DistributedDataParallel(network, device_ids=devices, forward_sync_buffers=name == "network")


def _perceptual_distance(composed: Tensor, batch: MicroBatch) -> Tensor:
    """Return the mean distance of composites to their targets in holes.

    Pictures are rolled by random offsets, since strided features see some phases of a grid better than others, and a
    network would learn to paint that grid.
    """
    teacher = features.load(_TEACHER).to(composed.device)
    shift = torch.randint(_GRID, (2,)).tolist()
    composed, target, hole = (part.roll(shift, (2, 3)) for part in (composed, batch.target, batch.hole))
    with torch.no_grad():
        wanted = features.to_unit_length(teacher(target))
    return features.distance_in_hole(features.to_unit_length(teacher(composed)), wanted, hole).mean()


class InpaintingModule(nn.Module):
    """A network in training. Subclasses define `training_step`, `learning_rate_at` and `configure_optimizers`.

    Args:
        network: maps (image, hole) to a prediction (N, 3, H, W) in [0, 1].
        settings: of the training.
        level: zero of the network's own range: 0.5 if it works in [-1, 1], else 0.

    Attributes:
        optimizers: by name, after `setup`.
        parallel: the networks by name, after `setup`: what a training step calls. With several processes, their
            backward pass averages the gradients of all.
        seed: of the training; dropout depends on it and the step.
        step: number of steps done.
        is_warm: whether the training starts from given weights.
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
        self.parallel: dict[str, nn.Module] = {}  # no submodules, so that checkpoints do not depend on the processes
        self._plain: list[nn.Module] = []  # the network with the same weights, where `network` has SyncBatchNorm
        self.seed = 0
        self.step = 0
        self.is_warm = False

    @property
    def inner(self) -> nn.Module:
        """The network without its harmonic wrapper."""
        return self.network.inner if isinstance(self.network, HarmonicResidual) else self.network

    @property
    def trained(self) -> nn.Module:
        """The network that is validated and exported: the moving average, if there is one."""
        if self.average is not None:
            return self.average.module
        return self._plain[0] if self._plain else self.network

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step."""
        raise NotImplementedError

    def learning_rate_of(self, name: str, step: int) -> float:  # noqa: ARG002 - for subclasses with several
        """Return the learning rate of an optimizer at a step."""
        return self.learning_rate_at(step)

    def decay_at(self, step: int) -> float:
        """Return the factor of the learning rate at a step: 1, then falling linearly to 0 over `decay_steps`."""
        return min(1.0, (self.settings.total_steps - step) / max(self.settings.decay_steps, 1))

    def with_hole_terms(self, terms: dict[str, Tensor], prediction: Tensor, batch: MicroBatch) -> dict[str, Tensor]:
        """Add to the loss terms what looks at composites in holes: perceptual distance and repetition.

        Args:
            terms: "loss", the weighted sum, and its terms.
            prediction: (N, 3, H, W), in [0, 1] or little beyond.
            batch: the inputs of the prediction.
        """
        settings, loss = self.settings, terms["loss"]
        composed, found = composite(batch.target, prediction.float(), batch.hole), {}
        if settings.hole_perceptual_weight:
            found["hole_perceptual"] = _perceptual_distance(composed, batch)
            loss = loss + settings.hole_perceptual_weight * found["hole_perceptual"]
        if settings.repetition_weight:
            found["repetition"] = repetition_loss(composed, batch.target, batch.hole)
            loss = loss + settings.repetition_weight * found["repetition"]
        return {**terms, **found, "loss": loss}

    def configure_optimizers(self) -> dict[str, Optimizer]:
        """Return the optimizers by name, in the order of their steps."""
        raise NotImplementedError

    def training_step(self, batches: Sequence[MicroBatch]) -> dict[str, Tensor]:
        """Update the weights once, and return the loss terms, detached scalars.

        Args:
            batches: equal parts of the batch, whose gradients are averaged.
        """
        raise NotImplementedError

    def setup(self, fabric: Fabric) -> None:
        """Move to the device, share the networks with other processes, and create the optimizers."""
        self.fabric = fabric
        fabric.to_device(self)
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            self._synchronise_batch_norm()
        for name, network in self.named_children():
            if name != "average":
                self.parallel[name] = network if fabric.world_size == 1 else _distributed(network, name, fabric)
        self.optimizers = self.configure_optimizers()

    def _synchronise_batch_norm(self) -> None:
        """Let batch norm use the statistics of the whole batch, of which each process has a part; for GPUs alone."""
        tensors = {id(tensor): tensor for tensor in (*self.network.parameters(), *self.network.buffers())}
        self._plain = [deepcopy(self.network, tensors)]  # whose weights are those of the network
        for name, network in list(self.named_children()):
            if name != "average":
                converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
                setattr(self, name, converted)

    def fit_batch(self, batch: Batch) -> dict[str, Tensor]:
        """Do one step: set the learning rates, update the weights and their moving average.

        Args:
            batch: on the device.

        Returns:
            the loss terms and, as `gradient of NAME`, the gradient norms before clipping; detached scalars.
        """
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate_of(name, self.step)
        self._norms: dict[str, Tensor] = {}
        self._reseed()
        parts = [part.chunk(machine.micro_batches()) for part in to_float(batch)]
        terms = self.training_step([MicroBatch(*part) for part in zip(*parts, strict=True)])
        if self.average is not None:
            self.average.update_parameters(self.network)
        self.step += 1
        return terms | self._norms

    def _reseed(self) -> None:
        # Dropout takes no generator, and a resumed run has to draw the same; each process draws numbers of its own.
        torch.manual_seed(self.seed + self.step + (self.fabric.global_rank << 40))

    def optimise(
        self, name: str, batches: Sequence[MicroBatch], terms_of: Callable[[MicroBatch], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Take an optimizer step with the mean gradient of micro-batches, clipped to `clip_norm`.

        Args:
            name: of the optimizer.
            batches: equal parts of the batch.
            terms_of: returns the loss terms of a micro-batch, means over its pictures; "loss" is minimised.

        Returns:
            the means of the terms over the micro-batches, detached.
        """
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        all_terms: list[dict[str, Tensor]] = []
        for number, batch in enumerate(batches, start=1):
            with self._without_sync() if number < len(batches) else nullcontext():
                with self.fabric.autocast():
                    terms = terms_of(batch)
                self.fabric.backward(terms["loss"] / len(batches))
            all_terms.append({term: value.detach() for term, value in terms.items()})
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        self._norms[f"gradient of {name}"] = clip_grad_norm_(weights, self.settings.clip_norm)
        optimizer.step()
        return {name: torch.stack([terms[name] for terms in all_terms]).mean() for name in all_terms[0]}

    @contextmanager
    def _without_sync(self) -> Iterator[None]:
        """Let backward passes add up gradients without averaging them over the processes."""
        with ExitStack() as stack:
            for network in self.parallel.values():
                if isinstance(network, DistributedDataParallel):
                    stack.enter_context(network.no_sync())
            yield

    @torch.no_grad()
    def validate(self, batch: Batch) -> Validated:
        """Fill pictures as the exported model does, and score them.

        Args:
            batch: on the device.
        """
        image, hole, target = to_float(batch)
        with self.fabric.autocast():
            prediction = self.trained(image, hole)
        composed = composite(image, prediction.float().clamp(0, 1), hole)
        missing = hole.sum((1, 2, 3)).clamp(min=1) * target.shape[1]
        error = composed - target
        judge = features.load(_JUDGE).to(target.device)
        ours, theirs = (features.to_unit_length(judge(picture)) for picture in (composed, target))
        return Validated(
            error.square().sum((1, 2, 3)) / missing,
            error.abs().sum((1, 2, 3)) / missing,
            features.distance_in_hole(ours, theirs, hole),
            composed,
        )
