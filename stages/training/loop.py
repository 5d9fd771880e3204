"""The training loop, on Lightning Fabric: steps, validation, history, best weights, checkpoints.

Schedule, batches and dropout are functions of the step, so an interrupted training resumes exactly from its checkpoint.
"""

import logging
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from stages.imaging.images import save_png
from stages.runtime import guard, machine
from stages.runtime.errors import InpaintError
from stages.training import checkpoint, distributed
from stages.training.dataset import Batch, Pixels, TrainingBatches, ValidationBatches, keep_batch
from stages.training.fabric import Fabric, LightningEnvironment, TorchElasticEnvironment
from stages.training.module import InpaintingModule
from stages.training.record import RecordWriter
from stages.training.settings import Criterion, FitSettings

CHECK_EVERY = 5  # steps between checks for non-finite numbers, each of which makes a GPU wait
HISTORY_EVERY = 5 * CHECK_EVERY
SYSTEM_EVERY_S = 5.0
SHOWN = 6  # validation pictures on a sheet
PSNR, PERCEPTUAL = "val_hole_psnr", "val_perceptual"
BAD_BATCHES = "bad_batches"  # folder in the record


@dataclass
class Best:
    """The best validation so far, by the criterion.

    Attributes:
        weights: of `trained`, on the CPU.
        psnr: hole PSNR, dB.
        perceptual: perceptual distance, 0 to 4.
        step: of the validation.
        misses: number of validations since.
        highest_psnr: of all validations, dB; the floor is relative to it.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    psnr: float = -math.inf
    perceptual: float = math.inf
    step: int = 0
    misses: int = 0
    highest_psnr: float = -math.inf

    def is_beaten_by(self, psnr: float, perceptual: float, criterion: Criterion) -> bool:
        """Return whether the scores of another validation are better.

        By the criterion `perceptual`, the hole PSNR must be at most `floor_db` below the highest so far.
        """
        if criterion.score == "hole_psnr":
            return psnr > self.psnr
        floor = max(psnr, self.highest_psnr) - criterion.floor_db
        return psnr >= floor and (perceptual < self.perceptual or self.psnr < floor)

    def after(self, scores: dict[str, float], step: int, network: torch.nn.Module, criterion: Criterion) -> "Best":
        """Return the better of this validation and a new one."""
        psnr, perceptual = scores[PSNR], scores[PERCEPTUAL]
        highest = max(psnr, self.highest_psnr)
        if self.is_beaten_by(psnr, perceptual, criterion):
            return Best(_copy(network), psnr, perceptual, step, 0, highest)
        return replace(self, misses=self.misses + 1, highest_psnr=highest)


class NotFiniteError(InpaintError):
    """A loss, gradient, score or weight is infinite or NaN, so the training cannot continue."""


def make_fabric() -> Fabric:
    """Return Fabric for the device and precision of this machine, connected with the processes that train with it."""
    kind, _, number = machine.device().partition(":")
    devices: Any = [int(number or 0)] if kind == "cuda" else 1
    precision: Any = machine.precision()
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    if not TorchElasticEnvironment.detect():  # one process, even if the environment is that of a SLURM or MPI job
        return Fabric(accelerator=kind, devices=devices, precision=precision, plugins=[LightningEnvironment()])
    local, nodes = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["GROUP_WORLD_SIZE"])
    if local * nodes != int(os.environ["WORLD_SIZE"]):
        raise distributed.AgreedError("INPAINT_PROCESSES should be the same on all machines")
    together: dict[str, Any] = {"strategy": "ddp", "plugins": [TorchElasticEnvironment()]}
    fabric = Fabric(accelerator=kind, devices=local, num_nodes=nodes, precision=precision, **together)
    fabric.launch()
    return fabric


def run(
    module: InpaintingModule,
    training: TrainingBatches,
    validation: ValidationBatches,
    settings: FitSettings,
    criterion: Criterion,
    record: RecordWriter,
) -> Best:
    """Train a module, resuming from its checkpoint if there is one.

    Args:
        module: set up, freshly made from the settings or loaded with start weights.
        training: the batch of every step.
        validation: pictures that are filled every `validate_every` steps.
        settings: of the training.
        criterion: for choosing the best weights.
        record: receives history, validations and pictures; the checkpoint is beside its folder.

    Returns:
        the best weights with their scores and step.

    Raises:
        NotFiniteError: a number is not finite; the batch is saved in the record.
    """
    machine.keep_freed_memory()
    machine.keep_to_cores()
    fabric, folder = module.fabric, record.folder.parent
    leads = fabric.is_global_zero  # this process validates, shows and saves
    part = training.part(fabric.global_rank, fabric.world_size)
    history = _History(record, settings.batch_size, fabric)
    best = _resume(module, history, record, folder)
    validation_step = _Validation(module, fabric, training, validation, criterion, record)
    total, every = settings.total_steps, settings.validate_every
    saved = time.monotonic()
    shown = {"desc": record.content["key"], "unit": "step", "mininterval": 2.0, "disable": not leads}
    with tqdm(total=total, initial=module.step, **shown) as bar:
        best = validation_step.at_start(best, bar)
        for batch in _batches(fabric, part, range(module.step, total), machine.loader_workers()):
            module.train()
            history.start()
            history.add(module.fit_batch(batch))
            bar.update()
            at_end = module.step == total
            validates = at_end or module.step % every == 0
            checks = module.step % CHECK_EVERY == 0
            due = checks and fabric.broadcast(time.monotonic() - saved >= settings.checkpoint_every_s)
            if validates or checks:
                terms = history.fetch()
                with distributed.agreed(fabric):
                    _require_finite(terms, module.step, training, record)
                    if validates or due:
                        _require_finite_weights(module, training, record)
            if module.step % HISTORY_EVERY == 0:
                history.write(module.step, module.learning_rate_at(module.step - 1))
            if validates:
                best = validation_step(best, bar)
                if at_end or 0 < settings.patience <= best.misses:
                    history.write(module.step, module.learning_rate_at(module.step - 1))
                    break
            if leads and (validates or due):
                checkpoint.save(folder, module, {"best": asdict(best), "history": history.seen})
                saved = time.monotonic()
            history.stop()
    return best


@dataclass
class _Validation:
    """Validation of a module, recorded."""

    module: InpaintingModule
    fabric: Fabric
    training: TrainingBatches
    validation: ValidationBatches
    criterion: Criterion
    record: RecordWriter

    def __call__(self, best: Best, bar: tqdm) -> Best:  # type: ignore[type-arg]
        """Validate, record the scores, and return the best validation so far."""
        step = self.module.step
        own: Any = validate(self.module, self.fabric, self.validation) if self.fabric.is_global_zero else None
        scores, shown = self.fabric.broadcast(own)  # for which the other processes wait
        with distributed.agreed(self.fabric):
            _require_finite([scores], step, self.training, self.record)
        _write_validation(step, scores, shown, self.record)
        best = best.after(scores, step, self.module.trained, self.criterion)
        bar.set_postfix_str(
            f"{_as_text(scores[PSNR], scores[PERCEPTUAL])}; best {_as_text(best.psnr, best.perceptual)}"
        )
        return best

    def at_start(self, best: Best, bar: tqdm) -> Best:  # type: ignore[type-arg]
        """Validate start weights, which may remain the best."""
        return self(best, bar) if self.module.step == 0 and self.module.is_warm else best


def _resume(module: InpaintingModule, history: "_History", record: RecordWriter, folder: Path) -> Best:
    """Restore module, optimizers and history from the checkpoint, if there is one."""
    with distributed.agreed(module.fabric):
        state = checkpoint.load(folder)  # only where this process leads
    state = module.fabric.broadcast(state)
    if state is None:
        record.rewind(0)
        return Best()
    history.seen = state["history"]
    module.load_state_dict(state["module"])
    module.step = state["step"]
    for name, optimizer in module.optimizers.items():
        optimizer.load_state_dict(state["optimizers"][name])
    record.rewind(module.step)
    return Best(**state["best"])


def _batches(fabric: Fabric, batches: Any, numbers: Sequence[int], workers: int) -> Iterator[Batch]:
    """Load batches by number, and move them to the device."""
    loader: Any = DataLoader(
        batches,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        pin_memory=workers > 0 and machine.device().startswith("cuda"),
        # torch misses a training that is killed while its loaders start
        worker_init_fn=partial(guard.end_with, os.getpid()),
    )
    try:
        loaded: Any = fabric.setup_dataloaders(loader, use_distributed_sampler=False)
        yield from loaded
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise InpaintError(
            f"a data loader process ended ({str(error).splitlines()[0]}); give it more memory (--shm-size in a "
            "container), or set INPAINT_LOADERS to a lower number"
        ) from None


def _require_finite(
    steps: Sequence[dict[str, float]], step: int, training: TrainingBatches, record: RecordWriter
) -> None:
    for back, numbers in zip(range(len(steps), 0, -1), steps, strict=True):
        wrong = [f"{name} is {value}" for name, value in numbers.items() if not math.isfinite(value)]
        if wrong:
            raise _not_finite(", ".join(wrong), step - back, training, record)


def _require_finite_weights(module: InpaintingModule, training: TrainingBatches, record: RecordWriter) -> None:
    wrong = [name for name, value in module.state_dict().items() if not value.isfinite().all()]
    if wrong:
        what = f"{len(wrong)} weights are no longer finite, among them {wrong[0]}"
        raise _not_finite(what, module.step - 1, training, record)


def _not_finite(what: str, step: int, training: TrainingBatches, record: RecordWriter) -> NotFiniteError:
    kept, key = keep_batch(record.folder / BAD_BATCHES, training[step]), record.content["key"]
    in_float32 = "" if machine.precision() == "32-true" else ", or train in float32 (INPAINT_PRECISION=32-true)"
    return NotFiniteError(
        f"{key}: at step {step + 1} {what}; its batch is in {kept} and {kept.with_suffix('.npz').name}. Inspect it; "
        f"lower the learning rate or `clip_norm` of `train.{key}`{in_float32}"
    )


def validate(
    module: InpaintingModule, fabric: Fabric, validation: ValidationBatches
) -> tuple[dict[str, float], Pixels]:
    """Score the missing pixels of composites, as means over pictures.

    Returns:
        the scores, and a sheet of targets, images and composites side by side, uint8 (H, W, 3).
    """
    module.trained.eval()
    workers = min(1, machine.loader_workers())  # the training's loaders still hold batches in shared memory
    mse, l1, perceptual = [], [], []
    for number, batch in enumerate(_batches(fabric, validation, range(len(validation)), workers)):
        validated = module.validate(batch)
        mse.append(validated.squared)
        l1.append(validated.absolute)
        perceptual.append(validated.perceptual)
        if number == 0:
            shown = _side_by_side(batch, validated.composed)
    psnr = -10 * torch.cat(mse).clamp(min=1e-10).log10()
    scores = {
        PSNR: psnr.mean().item(),
        PERCEPTUAL: torch.cat(perceptual).mean().item(),
        "val_hole_l1_percent": 100 * torch.cat(l1).mean().item(),
    }
    return scores, shown


def _as_text(psnr: float, perceptual: float) -> str:
    return f"{psnr:.2f} dB, perceptual {perceptual:.3f}"


def _write_validation(step: int, scores: dict[str, float], shown: Pixels, record: RecordWriter) -> None:
    record.add("validation", {"step": step, "seconds": round(record.seconds, 1), **scores})
    save_png(record.folder / "pictures" / f"step_{step:06d}.png", shown)


def _side_by_side(batch: Batch, composed: Tensor) -> Pixels:
    target = batch["target"][:SHOWN].float() / 255
    image = target * (1 - batch["hole"][:SHOWN])
    columns = [torch.cat(list(pictures.float().cpu()), dim=1) for pictures in (target, image, composed[:SHOWN])]
    sheet: Pixels = (torch.cat(columns, dim=2).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return sheet


def _copy(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


class _History:
    """Averages the loss terms of steps into lines of history.csv; they stay on the device until `fetch`."""

    def __init__(self, record: RecordWriter, batch_size: int, fabric: Fabric) -> None:
        self._record, self._batch_size, self._fabric = record, batch_size, fabric
        self._unseen: list[dict[str, Tensor]] = []
        self.seen: list[dict[str, float]] = []  # the next line is their mean
        self._since = self._sampled = self._ended = time.monotonic()
        self._waited = 0.0

    def start(self) -> None:
        """Mark the start of a step: the time since the last one was spent waiting for its batch."""
        self._waited += time.monotonic() - self._ended

    def stop(self) -> None:
        """Mark the end of a step."""
        self._ended = time.monotonic()

    def add(self, numbers: dict[str, Tensor]) -> None:
        """Add the loss terms of a step, scalars."""
        self._unseen.append(numbers)
        self.stop()

    def fetch(self) -> list[dict[str, float]]:
        """Return the loss terms since the last call, means over all processes, copied from the device at once."""
        if not self._unseen:
            return []
        own = torch.stack([torch.stack(list(terms.values())).float() for terms in self._unseen])
        rows: list[list[float]] = self._fabric.all_reduce(own).tolist()  # type: ignore[union-attr]
        fetched = [dict(zip(terms, row, strict=True)) for terms, row in zip(self._unseen, rows, strict=True)]
        self._unseen = []
        self.seen += fetched
        return fetched

    def write(self, step: int, learning_rate: float) -> None:
        """Write a line with the means since the last one, if there were any steps."""
        if not self.seen:
            return
        now = time.monotonic()
        elapsed = now - self._since
        row: dict[str, Any] = {"step": step, "seconds": round(self._record.seconds, 1)}
        row |= dict(_columns(self.seen))
        row["lr"] = learning_rate
        row["tiles_per_s"] = round(len(self.seen) * self._batch_size / elapsed, 1)
        row["data_wait"] = round(self._waited / elapsed, 4)
        self._record.add("history", row)
        if now - self._sampled > SYSTEM_EVERY_S:
            self._record.add_system()
            self._sampled = now
        self.seen, self._waited, self._since = [], 0.0, now


def _columns(steps: Sequence[dict[str, float]]) -> Iterator[tuple[str, float]]:
    for name in steps[0]:
        column = name if name == "loss" else name.replace(" ", "_") if name.startswith("gradient") else f"loss_{name}"
        yield column, fmean(step[name] for step in steps)
