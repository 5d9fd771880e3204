"""From params and files to a trained, exported and recorded model: the `main` of every training stage."""

import contextlib
import functools
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from stages.fitting import checkpoint, course, starting, together
from stages.fitting.dataset import TrainingBatches, ValidationBatches
from stages.fitting.module import InpaintingModule
from stages.fitting.record import Record
from stages.fitting.rollback import keep_batch, roll_back_or_stop
from stages.fitting.settings import FitSettings, ModelEntry
from stages.fitting.watch import BadNumbersError, Complaint
from stages.pictures import shards
from stages.restoring import exported, onnx_export
from stages.running import project
from stages.running.errors import InpaintError, ParamsError
from stages.running.files import fresh_folder, remove_folder, sha256, write_json
from stages.running.params import read, read_seed
from stages.running.remembered import fingerprint
from stages.running.say import say

PREPARED = Path("data/prepared")
MASKS = Path("data/masks")
MODELS = Path("data/models")
TRAINING = Path("data/training")
BAD_BATCHES = "bad_batches"  # in the record's folder
MIRROR = "stages.tracking"  # started as a process, not imported: training never talks to MLflow
VALIDATION_BATCH = 32

AnySettings = TypeVar("AnySettings", bound=FitSettings)


def train(key: str, settings_kind: type[AnySettings], module_kind: Callable[[AnySettings], InpaintingModule]) -> None:
    """Train one model, or go on with it where an interrupted run left off, and write its outputs.

    In the processes that torchrun's environment speaks of, or that INPAINT_PROCESSES asks for, of which one writes.

    Args:
        key: the model's name in `models` and `train` of params.yaml.
        settings_kind: of its section.
        module_kind: makes the Lightning module from the settings.
    """
    with starting.joined():
        _train(key, settings_kind, module_kind)


def _train(key: str, settings_kind: type[AnySettings], module_kind: Callable[[AnySettings], InpaintingModule]) -> None:
    seed = read_seed()
    entry = read(f"models.{key}", ModelEntry)
    settings = read(f"train.{key}", settings_kind)
    folders = list(dict.fromkeys([PREPARED / "train", entry.tiles]))
    training = TrainingBatches(folders, MASKS / "train.npy", settings.batch_size, seed)
    validation = ValidationBatches(PREPARED / "val", MASKS / "val.npy", VALIDATION_BATCH)
    _check_size(training.tile_size, settings.levels, key)
    together.require_shares(settings.batch_size, f"train.{key}.batch_size")
    if starting.is_to_be_started():
        starting.start(f"stages.{entry.code}.train", key)
        return
    training.rows = together.rows(settings.batch_size)

    facts = _facts(key, seed, entry, settings)
    state = checkpoint.folder(facts["fingerprint"])
    record = Record(state / "record", facts)

    def start() -> tuple[InpaintingModule, course.Course]:
        torch.manual_seed(seed)
        module = module_kind(settings)
        module.seed = seed
        progress = course.Course(settings, record, state)
        _resume(module, progress, state, facts)
        training.draw_anew(len(progress.rollbacks))
        return module, progress

    def go_back(complaint: Complaint) -> str:
        kept = keep_batch(record.folder / BAD_BATCHES, training.whole(complaint.step))
        return roll_back_or_stop(complaint, kept, settings, key, state)

    with _mirrored(record.folder):
        while True:
            module, progress = start()
            try:
                course.run(module, course.Batches(module, training, validation, settings), progress)
                break
            except BadNumbersError as bad:
                together.tell(f"{key}: {together.from_first(functools.partial(go_back, bad.complaint))}")
            except torch.OutOfMemoryError as error:
                raise InpaintError(
                    f"the GPU's memory does not hold {settings.batch_size} pictures of {training.tile_size} x "
                    f"{training.tile_size} pixels at step {module.step + 1}; lower `train.{key}.batch_size` or "
                    f"`tile_size`, or free the GPU of other programs ({str(error).splitlines()[0]})"
                ) from None
        about = {
            "key": key,
            "tile_size": training.tile_size,
            "reach": training.reach,  # how large holes may be that the model is asked to fill at once
            "settings": settings.model_dump(mode="json"),
        }
        together.from_first(lambda: _write(about, module, settings.levels, progress, record))
    together.from_first(lambda: remove_folder(state))


def _resume(module: InpaintingModule, progress: course.Course, state: Path, facts: Mapping[str, Any]) -> None:
    if interrupted := together.from_first(lambda: checkpoint.load(state)):
        progress.restore(module, interrupted)
        together.tell(f"{facts['key']}: goes on after step {module.step}")
    else:  # drawn from the same seed, but processors may differ in the last bit
        module.load_state_dict(together.from_first(module.state_dict))
        _tell_of_others(facts, state)


def _tell_of_others(facts: Mapping[str, Any], state: Path) -> None:
    """Say of trainings of this key that were interrupted why this one does not go on with them."""
    for place in sorted(state.parent.glob("*/record")):
        other = Record.content_of(place)
        if place.parent == state or other is None or other["key"] != facts["key"]:
            continue
        changed = [
            name
            for part in ("params", "inputs")
            for name in {**other[part], **facts[part]}
            if other[part].get(name) != facts[part].get(name)
        ]
        together.tell(
            f"{facts['key']}: starts anew; the training interrupted in {place.parent.relative_to(project.root())} had "
            f"another {', '.join(changed) or 'code'}"
        )


def _check_size(tile_size: int, levels: int, key: str) -> None:
    if tile_size % 2**levels or tile_size < 2 ** (levels + 1):
        raise ParamsError(
            f"`train.{key}.levels` is {levels}, which needs a `tile_size` that is a multiple of {2**levels} and at "
            f"least {2 ** (levels + 1)}, but it is {tile_size}; lower the levels or change the tile size"
        )


def _facts(key: str, seed: int, entry: ModelEntry, settings: FitSettings) -> dict[str, Any]:
    tiles = {str(folder): shards.summary(folder) for folder in {PREPARED / "train", PREPARED / "val", entry.tiles}}
    banks = {str(path): {"digest": sha256(path)} for path in (MASKS / "train.npy", MASKS / "val.npy")}
    params = {"seed": seed, **entry.model_dump(mode="json"), **settings.model_dump(mode="json")}
    inputs = dict(sorted((tiles | banks).items()))
    of = fingerprint({"key": key, "params": params, "inputs": inputs})
    return {"key": key, "stage": f"train@{key}", "fingerprint": of, "params": params, "inputs": inputs}


@contextlib.contextmanager
def _mirrored(folder: Path) -> Iterator[None]:
    """Let a process beside this one bring the record into MLflow as it grows; training never waits for it."""
    if not together.is_first():
        yield
        return
    mirror = subprocess.Popen(
        [sys.executable, "-m", MIRROR, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        mirror.terminate()
        try:
            mirror.wait(timeout=5)
        except subprocess.TimeoutExpired:
            mirror.kill()
            mirror.wait()


def _write(
    about: dict[str, Any], module: InpaintingModule, levels: int, progress: course.Course, record: Record
) -> None:
    key = about["key"]
    network = module.trained
    network.load_state_dict(progress.best)
    network.to("cpu").to(memory_format=torch.contiguous_format).eval()
    with fresh_folder(MODELS / key) as folder:
        model = folder / "model.pt2"
        saved = exported.save(network, model, levels, about)
        onnx_export.export(network, saved, folder / "model.onnx")
        write_json(folder / "settings.json", about["settings"])
        checkpoint.write_state(folder / "weights.pt", module.cpu().state_dict())  # all of it, for fine-tuning
        digest = sha256(model)
    summary = {
        "val_hole_psnr": progress.best_score,
        "best_step": progress.best_step,
        "steps": module.step,
        "seconds": round(record.seconds, 1),
        "rollbacks": len(progress.rollbacks),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    record.finish(digest, summary)
    with fresh_folder(TRAINING / key) as folder:
        shutil.copytree(record.folder, folder, dirs_exist_ok=True)
    say(
        f"{key}: hole PSNR {progress.best_score:.2f} dB on validation pictures after {progress.best_step} steps, "
        f"{record.seconds:.0f} s; {MODELS / key}/model.pt2"
    )
