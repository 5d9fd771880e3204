"""The course of a training through Lightning: history, validation, best weights, checkpoints, and when to stop.

What lies between two validations is Lightning's epoch. Schedule, batches and dropout are functions of the step, so a
training that was interrupted goes on from its checkpoint as if nothing had happened.
"""

import logging
import math
import os
import signal
import time
import warnings
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from stages.fitting import checkpoint, together
from stages.fitting.dataset import Batch, TrainingBatches, ValidationBatches
from stages.fitting.module import InpaintingModule
from stages.fitting.record import Record
from stages.fitting.rollback import slowdowns
from stages.fitting.settings import FitSettings
from stages.fitting.watch import BadNumbersError, Complaint, Numbers, Watch, fetch
from stages.pictures.images import save_png
from stages.running import guard, machine

LOOK_EVERY = 5  # steps, at the numbers they left
HISTORY_EVERY = 5 * LOOK_EVERY
SYSTEM_EVERY_S = 5.0
SHOWN = 6  # validation pictures
SCORE = "val_hole_psnr"


class Batches(lightning.LightningDataModule):
    """The batches up to the next validation, from wherever the module stands."""

    def __init__(
        self,
        module: InpaintingModule,
        training: TrainingBatches,
        validation: ValidationBatches,
        settings: FitSettings,
    ) -> None:
        super().__init__()
        self._module, self._training, self._validation, self._settings = module, training, validation, settings

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches from the module's step to the next multiple of `validate_every`, or to the end."""
        start, every = self._module.step, self._settings.validate_every
        stop = min((start // every + 1) * every, self._settings.total_steps)
        return self._loader(self._training, range(start, stop))

    def val_dataloader(self) -> DataLoader[Batch]:
        """All validation batches."""
        return self._loader(self._validation, range(len(self._validation)))

    @staticmethod
    def _loader(batches: Any, numbers: range) -> DataLoader[Batch]:
        workers = machine.loader_workers()
        return DataLoader(
            batches,
            batch_size=None,
            sampler=numbers,
            num_workers=workers,
            pin_memory=workers > 0 and machine.device().startswith("cuda"),
            worker_init_fn=partial(_end_with, os.getpid()),
        )


def _end_with(training: int, _number: int) -> None:
    """End this loading process with its training: torch's own watch misses one that is killed while they start."""
    guard.end_with_parent(signal.SIGKILL)
    if os.getppid() != training:
        os._exit(1)


class Course(Callback):
    """Keeps the record, the best weights and the checkpoints of one training.

    Args:
        settings: steps, validation, patience, checkpoints.
        record: where history goes.
        folder: of the checkpoint.

    Attributes:
        best: the weights with the best validation score so far, as `trained` has them.
        best_score: that score, hole PSNR in dB.
        best_step: after how many steps it was reached.
        rollbacks: what went wrong and was gone back from: step, to, what, optimizer.
    """

    def __init__(self, settings: FitSettings, record: Record, folder: Path) -> None:
        self.best: dict[str, Tensor] = {}
        self.best_score, self.best_step, self.misses = -math.inf, 0, 0
        self.rollbacks: list[dict[str, Any]] = []
        self._settings, self._record, self._folder = settings, record, folder
        self._bar: Any = None
        self._watch = Watch()
        self._unseen: list[Numbers] = []
        self._seen: list[Numbers] = []
        self._optimizers: list[dict[str, Any]] = []
        self._since = self._saved = self._sampled = self._ended = time.monotonic()
        self._waited = 0.0

    def restore(self, module: InpaintingModule, state: dict[str, Any]) -> None:
        """Put a module, and this course, where a checkpoint says; optimisers follow when the training starts."""
        module.load_state_dict(state["module"])
        module.step = state["step"]
        extra = state["extra"]
        self.best, self.best_score = extra["best"], extra["best_score"]
        self.best_step, self.misses = extra["best_step"], extra["misses"]
        self.rollbacks, self._watch.state = extra["rollbacks"], extra["watch"]
        self._optimizers = state["optimizers"]
        module.slowdowns = slowdowns(self.rollbacks, module.optimizer_names)
        self._record.rewind(module.step)
        if self.rollbacks:
            self._record.note(rollbacks=self.rollbacks)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Restore the optimisers, which exist only now, and start the clocks."""
        for optimizer, state in zip(trainer.optimizers, self._optimizers, strict=False):
            optimizer.load_state_dict(state)
        module: Any = pl_module
        if not (self._folder / checkpoint.GOOD).exists():
            checkpoint.save_good(self._folder, module, self._extra())
        total = self._settings.total_steps
        self._bar = tqdm(
            total=total, initial=module.step, desc=self._record.content["key"], unit="step", mininterval=2.0,
            disable=not together.is_first(),
        )  # fmt: skip
        self._since = self._saved = self._sampled = self._ended = time.monotonic()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count the time since the last step ended, which was spent waiting for this batch."""
        self._waited += time.monotonic() - self._ended

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Look at the numbers, write history, and a checkpoint when it is time."""
        module: Any = pl_module
        self._bar.update()
        self._unseen.append(Numbers(module.step - 1, module.terms, module.gradients))
        at_end = module.step == self._settings.total_steps
        looked = at_end or module.step % LOOK_EVERY == 0
        if looked:
            self._look()
        if at_end or module.step % HISTORY_EVERY == 0:
            self._write_history(module)
        if looked and not at_end and module.step % self._settings.validate_every:  # at a validation, only after it
            self._save_when_due(module)
        self._ended = time.monotonic()

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Look at the steps since the last look: weights gone bad are not worth a validation."""
        self._look()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the scores down, keep the best weights, and stop at the end or when patience has run out."""
        module: Any = pl_module
        if not all(map(math.isfinite, module.scores.values())):
            raise BadNumbersError(Complaint(module.step - 1, f"validation is no longer finite: {module.scores}"))
        self._record.add(
            "validation", {"step": module.step, "seconds": round(self._record.seconds, 1), **module.scores}
        )
        self._show(module)
        if module.scores[SCORE] > self.best_score:
            self.best_score, self.best_step, self.misses = module.scores[SCORE], module.step, 0
            self.best = {name: value.detach().cpu().clone() for name, value in module.trained.state_dict().items()}
        else:
            self.misses += 1
        self._bar.set_postfix_str(f"hole PSNR {module.scores[SCORE]:.2f} dB, best {self.best_score:.2f}")
        impatient = 0 < self._settings.patience <= self.misses
        if module.step >= self._settings.total_steps or impatient:
            trainer.should_stop = True
            self._bar.close()
        else:
            checkpoint.save_good(self._folder, module, self._extra())
            self._saved = time.monotonic()
        self._ended = time.monotonic()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Leave the progress bar as it stands, so that the message gets a line of its own."""
        if self._bar is not None:
            self._bar.close()
        if isinstance(exception, KeyboardInterrupt):  # which Lightning would turn into exit code 1, without a word
            raise exception

    def _look(self) -> None:
        for numbers in fetch(self._unseen):
            complaint = self._watch.judge(numbers)
            if complaint is not None:
                raise BadNumbersError(complaint)
            self._seen.append(numbers)
        self._unseen = []

    def _write_history(self, module: InpaintingModule) -> None:
        now = time.monotonic()
        means = {name: fmean(each.terms[name] for each in self._seen) for name in module.terms}
        elapsed = now - self._since
        row = {"step": module.step, "seconds": round(self._record.seconds, 1)}
        row |= {"loss" if name == "loss" else f"loss_{name}": value for name, value in means.items()}
        row["lr"] = module.trainer.optimizers[0].param_groups[0]["lr"]
        row["tiles_per_s"] = round(len(self._seen) * self._settings.batch_size / elapsed, 1)
        row["data_wait"] = round(self._waited / elapsed, 4)
        self._record.add("history", row)
        if now - self._sampled > SYSTEM_EVERY_S:
            self._record.add_system()
            self._sampled = now
        self._seen, self._waited, self._since = [], 0.0, now

    def _save_when_due(self, module: InpaintingModule) -> None:
        if not together.is_first() or time.monotonic() - self._saved < self._settings.checkpoint_every_s:
            return
        checkpoint.save(self._folder, module, self._extra())
        self._saved = time.monotonic()

    def _extra(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "best_score": self.best_score,
            "best_step": self.best_step,
            "misses": self.misses,
            "rollbacks": self.rollbacks,
            "watch": self._watch.state,
        }

    def _show(self, module: InpaintingModule) -> None:
        if module.samples is None:
            return
        columns = [torch.cat(list(pictures[:SHOWN].float().cpu()), dim=1) for pictures in module.samples]
        sheet = (torch.cat(columns, dim=2).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        save_png(self._record.folder / "pictures" / f"step_{module.step:06d}.png", sheet)


def run(module: InpaintingModule, batches: Batches, course: Course) -> None:
    """Train a module to its end on the device and in the precision that the machine offers."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    machine.keep_freed_memory()
    machine.keep_to_cores()
    device = machine.device()
    trainer = lightning.Trainer(
        accelerator=device.partition(":")[0],
        devices=[int(device.partition(":")[2] or machine.local_rank())] if device.startswith("cuda") else 1,
        plugins=[LightningEnvironment()],  # one process: Lightning knows nothing of the others, even under torchrun
        precision=machine.precision(),  # type: ignore[arg-type]  # Lightning's literal; machine.py checks it
        max_epochs=-1,
        callbacks=[course],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
    )
    with warnings.catch_warnings():
        # Batches are views of memory maps and loaded in a fraction of a step: worker processes would only cost time.
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        warnings.filterwarnings("ignore", message=".*LeafSpec")  # Lightning against this torch
        trainer.fit(module, datamodule=batches)
