"""The `main` of every training stage: from params and files to a trained, exported and recorded model."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from stages.imaging import shards
from stages.inpainting import exported, onnx_export
from stages.runtime import project
from stages.runtime.errors import InpaintError, InputError, ParamsError
from stages.runtime.files import fresh_folder, remove_folder, sha256, write_json
from stages.runtime.log import log
from stages.runtime.params import read, read_seed
from stages.training import checkpoint, distributed, loop, weights
from stages.training.dataset import TrainingBatches, ValidationBatches
from stages.training.fabric import Fabric
from stages.training.module import InpaintingModule
from stages.training.record import RecordWriter
from stages.training.settings import START, START_FILE, WEIGHTS, Criterion, FitSettings, ModelEntry

PREPARED = Path("data/prepared")
MASKS = Path("data/masks")
MODELS = Path("data/models")
TRAINING = Path("data/training")
MIRROR = "stages.tracking"  # runs in a process of its own, since training never talks to MLflow
VALIDATION_BATCH = 32

AnySettings = TypeVar("AnySettings", bound=FitSettings)


def train(
    key: str,
    settings_kind: type[AnySettings],
    module_kind: Callable[[AnySettings], InpaintingModule],
    fabric: Fabric | None = None,
) -> None:
    """Train one model, resuming an interrupted run, and write its outputs.

    Args:
        key: name of the model in `models` and `train` of params.yaml.
        settings_kind: class of its settings.
        module_kind: creates the module from the settings.
        fabric: of the processes that train together, each of which calls this; None for one process.
    """
    fabric = fabric or loop.make_fabric()
    leads = fabric.is_global_zero
    with distributed.agreed(fabric):
        seed = read_seed()
        entry = read(f"models.{key}", ModelEntry)
        settings = read(f"train.{key}", settings_kind)
        folders = list(dict.fromkeys([PREPARED / "train", entry.tiles]))
        training = TrainingBatches(folders, MASKS / "train.npy", settings.batch_size, seed)
        validation = ValidationBatches(PREPARED / "val", MASKS / "val.npy", VALIDATION_BATCH)
        _check_sizes(training.tile_size, settings, key, fabric.world_size)
        criterion = read("criterion", Criterion)
        start = _read_start(key)
        facts = _facts(key, seed, entry, settings, criterion, start)
    distributed.require_same(fabric, facts)
    with checkpoint.place(facts["fingerprint"], fabric) as state:
        if (state / checkpoint.FILE).exists():
            log(f"{key}: resuming the interrupted training")
        elif leads:
            _log_other_trainings(facts, state)
        record = RecordWriter(state / "record", facts)
        torch.manual_seed(seed)
        module = module_kind(settings)
        module.seed = seed
        if start.path is not None:
            weights.load(start.path, module, settings)
        module.setup(fabric)
        with _mirrored(record.folder) if leads else contextlib.nullcontext():
            try:
                best = loop.run(module, training, validation, settings, criterion, record)
            except torch.OutOfMemoryError as error:
                raise InpaintError(
                    f"the GPU's memory does not hold {settings.batch_size} pictures of {training.tile_size} x "
                    f"{training.tile_size} pixels at step {module.step + 1}; set INPAINT_ACCUMULATE=2 or more, lower "
                    f"`train.{key}.batch_size` or `tile_size`, or free the GPU of other programs "
                    f"({str(error).splitlines()[0]})"
                ) from None
        if leads:
            about = {
                "key": key,
                "tile_size": training.tile_size,
                "reach": training.reach,  # depth of holes that the model can fill at once, in pixels
                "settings": settings.model_dump(mode="json"),
            }
            _write(about, module, settings.levels, best, record)
            remove_folder(state)


def _log_other_trainings(facts: Mapping[str, Any], state: Path) -> None:
    """Log why interrupted trainings of the same key are not resumed."""
    for place in sorted(state.parent.glob("*/record")):
        other = RecordWriter.content_of(place)
        if place.parent == state or other is None or other["key"] != facts["key"] or checkpoint.is_held(place.parent):
            continue
        log(
            f"{facts['key']}: starting anew; the interrupted training in {place.parent.relative_to(project.root())} "
            f"has another {distributed.differing(other, facts)}"
        )


def _check_sizes(tile_size: int, settings: FitSettings, key: str, processes: int) -> None:
    levels = settings.levels
    if tile_size % 2**levels or tile_size < 2 ** (levels + 1):
        raise ParamsError(
            f"`train.{key}.levels` is {levels}, which needs a `tile_size` that is a multiple of {2**levels} and at "
            f"least {2 ** (levels + 1)}, but it is {tile_size}; lower the levels or change the tile size"
        )
    distributed.check_batch(key, settings.batch_size, processes)


class Start(NamedTuple):
    """The start weights: where they are from, and their file, None for random ones."""

    name: str
    path: Path | None


def _read_start(key: str) -> Start:
    folder = START / key
    try:
        name = str(json.loads((folder / START_FILE).read_text(encoding="utf-8"))["start_from"])
    except (OSError, ValueError, KeyError):
        raise InputError(f"{folder / START_FILE} is missing or damaged; run dvc repro start@{key}") from None
    return Start(name, None if name == "none" else folder / WEIGHTS)


def _facts(
    key: str,
    seed: int,
    entry: ModelEntry,
    settings: FitSettings,
    criterion: Criterion,
    start: Start,
) -> dict[str, Any]:
    tiles = {str(folder): shards.summary(folder) for folder in {PREPARED / "train", PREPARED / "val", entry.tiles}}
    mask_sets = {str(path): {"digest": sha256(path)} for path in (MASKS / "train.npy", MASKS / "val.npy")}
    params = {
        "seed": seed,
        **entry.model_dump(mode="json"),
        **settings.model_dump(mode="json"),
        "start_from": start.name,
    }
    params |= {f"criterion.{name}": value for name, value in criterion.model_dump(mode="json").items()}
    starts = {str(start.path): {"digest": sha256(start.path)}} if start.path else {}
    inputs = dict(sorted((tiles | mask_sets | starts).items()))
    of = project.fingerprint({"key": key, "params": params, "inputs": inputs})
    return {"key": key, "stage": f"train@{key}", "fingerprint": of, "params": params, "inputs": inputs}


@contextlib.contextmanager
def _mirrored(folder: Path) -> Iterator[None]:
    """Run a process that mirrors the growing record to MLflow; training never waits for it."""
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


def export(network: torch.nn.Module, levels: int, about: dict[str, Any], folder: Path) -> None:
    """Export a network as `model.pt2` and `model.onnx`.

    Args:
        network: is moved to the CPU and switched to evaluation.
        levels: how often it halves H and W.
        about: facts stored in the models, JSON.
        folder: for both files.
    """
    network.to("cpu").to(memory_format=torch.contiguous_format).eval()
    saved = exported.save(network, folder / "model.pt2", levels, about)
    onnx_export.export(network, saved, folder / "model.onnx")


def _write(about: dict[str, Any], module: InpaintingModule, levels: int, best: loop.Best, record: RecordWriter) -> None:
    key = about["key"]
    network = module.trained
    network.load_state_dict(best.weights)
    with fresh_folder(MODELS / key) as folder:
        export(network, levels, about, folder)
        write_json(folder / "settings.json", about["settings"])
        weights.save(folder / WEIGHTS, module, best.weights, about)
        digest = sha256(folder / "model.pt2")
    summary = {
        loop.PSNR: best.psnr,
        loop.PERCEPTUAL: best.perceptual,
        "best_step": best.step,
        "steps": module.step,
        "seconds": round(record.seconds, 1),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    record.finish(digest, summary)
    with fresh_folder(TRAINING / key) as folder:
        shutil.copytree(record.folder, folder, dirs_exist_ok=True)
    if best.step == 0:
        log(f"{key}: {module.step} steps did not improve on the start weights, which are kept")
    log(
        f"{key}: hole PSNR {best.psnr:.2f} dB, perceptual distance {best.perceptual:.3f} on validation pictures after "
        f"{best.step} of {module.step} steps, {record.seconds:.0f} s; {MODELS / key}/model.pt2"
    )
