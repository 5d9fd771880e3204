"""Several processes, on one machine or many, train one model as one process would.

Each holds the whole network and takes its rows of every batch. What a step draws from the whole batch is exchanged: the
gradients' mean, batch norm's statistics, the terms of the loss. What is random is drawn for the whole batch by every
process, and each takes its rows. So the course of a training is that of one process, up to the order in which floats
are added up; in one process nothing here changes a bit. The first process alone writes, and its findings decide.

With INPAINT_ACCUMULATE=n each process works through its rows in n pieces, for less memory. Batch norm then has the
statistics of a piece, from all processes, and no longer those of the batch: the numbers are those of the undivided
batch only for networks without batch norm (`norm: instance`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from stages.running import machine
from stages.running.errors import InpaintError, InputError
from stages.running.say import say

_Made = TypeVar("_Made")


class LostError(InpaintError):
    """Another process of this training is gone; the launcher starts them all again."""

    exit_code = 1


def rank() -> int:
    """Return which of the processes this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Say whether this process is the one that writes."""
    return rank() == 0


def tell(message: str) -> None:
    """Print what all processes have to say, once."""
    if is_first():
        say(message)


def require_shares(batch_size: int, name: str) -> None:
    """Require that a batch can be dealt out in equal parts.

    Args:
        batch_size: pictures in the whole batch.
        name: of that setting.

    Raises:
        InputError: it cannot.
    """
    processes = machine.world() if machine.world() > 1 else machine.processes()
    if batch_size % (processes * machine.pieces()):
        raise InputError(
            f"{processes} processes with {machine.pieces()} pieces each (INPAINT_PROCESSES or torchrun, "
            f"INPAINT_ACCUMULATE) do not divide `{name}`, {batch_size}; choose numbers whose product does"
        )


def rows(batch_size: int) -> slice:
    """Return which pictures of a batch are this process's."""
    share = batch_size // world()
    return slice(rank() * share, (rank() + 1) * share)


def from_first(make: Callable[[], _Made]) -> _Made:
    """Have the first process make something, and return it in all of them.

    Args:
        make: called by the first process alone; tensors and plain values, as checkpoints have them.

    Raises:
        InpaintError: `make` did; the other processes leave without a word, by SystemExit.
    """
    if world() == 1:
        return make()
    if not is_first():
        received: dict[str, Any] = torch.load(BytesIO(_broadcast(b"")), map_location="cpu", weights_only=True)
        if received["exit_code"]:
            raise SystemExit(received["exit_code"])
        made: _Made = received["made"]
        return made
    try:
        made = make()
    except InpaintError as error:
        _broadcast(_packed(None, error.exit_code))
        raise
    _broadcast(_packed(made, 0))
    return made


def _packed(made: object, exit_code: int) -> bytes:
    torch.save({"made": made, "exit_code": exit_code}, memory := BytesIO())
    return memory.getvalue()


def _broadcast(content: bytes) -> bytes:
    with losses():
        size = torch.tensor(len(content))
        dist.broadcast(size, 0)
        room = torch.frombuffer(bytearray(content), dtype=torch.uint8) if is_first() else torch.empty(int(size)).byte()
        dist.broadcast(room, 0)
    return room.numpy().tobytes()


def total(tensor: Tensor) -> Tensor:
    """Return the sum over all processes, the same bits in each."""
    if world() == 1:
        return tensor
    with losses():
        dist.all_reduce(summed := tensor.clone())
    return summed


@contextmanager
def losses() -> Iterator[None]:
    """Turn what torch says when a process is gone into a LostError."""
    try:
        yield
    except RuntimeError as error:
        raise LostError(f"another process of this training is gone ({str(error).partition('. ')[0]})") from None


def average_gradients(gradients: Sequence[Tensor]) -> None:
    """Set the gradients, in place, to their means over all processes."""
    if world() == 1:
        return
    means = total(torch.cat([each.reshape(-1) for each in gradients])) / world()
    for each, mean in zip(gradients, torch.split(means, [each.numel() for each in gradients]), strict=True):
        each.copy_(mean.view(each.shape))


def mean_of(scalars: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the means of scalars over all processes."""
    if world() == 1:
        return scalars
    means = total(torch.stack([each.float() for each in scalars.values()])) / world()
    return dict(zip(scalars, means, strict=True))


class _Normalise(torch.autograd.Function):
    """Batch norm by the statistics of all processes' rows; its gradient is that of the sum of their losses."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        parts = x.new_zeros((world(), 2, x.shape[1]), dtype=torch.float32)
        parts[rank(), 1], parts[rank(), 0] = torch.var_mean(x.float(), (0, 2, 3), correction=0)
        means, variances = total(parts).unbind(1)
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps), mean, variance

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, variance = ctx.saved_tensors
        straight, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        # Every row also moves the mean and the variance, and with them all rows of all processes.
        by_weight, by_bias = total(torch.stack([of_weight, of_bias]).float()) * (x.shape[1] / x.numel() / world())
        scale = (variance + ctx.eps).rsqrt()
        slope = weight * scale * scale * by_weight
        shift = weight * scale * by_bias - slope * mean
        return straight - (x * _over_channels(slope, x) + _over_channels(shift, x)), of_weight, of_bias, None


def _over_channels(values: Tensor, x: Tensor) -> Tensor:
    return values.to(x.dtype)[:, None, None]


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that in training sees the rows of all processes; in one process it is torch's own."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        if not self.training or world() == 1:
            return super().forward(x)
        out, mean, variance = _Normalise.apply(x, self.weight, self.bias, self.eps)
        count = world() * x.numel() // x.shape[1]
        buffers: Any = self
        buffers.num_batches_tracked.add_(1)
        buffers.running_mean.lerp_(mean, self.momentum)
        buffers.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        normalised: Tensor = out
        return normalised


class _Piece:
    """Which piece of its rows this process is working on."""

    number, of = 0, 1


@contextmanager
def piece(number: int, of: int) -> Iterator[None]:
    """Say that what follows works on one of several equal pieces of this process's rows."""
    _Piece.number, _Piece.of = number, of
    try:
        yield
    finally:
        _Piece.number, _Piece.of = 0, 1


def dropout(x: Tensor, share: float) -> Tensor:
    """Drop a share of the values of (N, C, H, W) in training: of the mask of the whole batch, its rows."""
    parts = world() * _Piece.of
    if parts == 1:
        return F.dropout(x, share)
    layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    ones = x.new_ones((len(x) * parts, *x.shape[1:])).to(memory_format=layout)
    return x * F.dropout(ones, share).chunk(parts)[rank() * _Piece.of + _Piece.number]
