"""Models by the names that people use: registered ones, files, classical methods.

inpainter = open_inpainter("models:/inpaint-pconv@champion")

What a registered name stands for is remembered in `.remembered/models`, with the model's files, until the registry's
database changes: MLflow's import takes seconds. A server is asked every time. The folder may be deleted at any time.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from stages.inpainting import inpainter
from stages.inpainting.inpainter import About, Inpainter
from stages.runtime import project
from stages.runtime.errors import InputError, NotRegisteredError
from stages.runtime.files import fresh_folder, sha256, write_json
from stages.serving import registered
from stages.tracking import store

REGISTERED = "models:/"
BASE = Path("data/base/pconv.safetensors")
_WEIGHTS = ".safetensors"
_FILES = ("model.pt2", "model.onnx")


def open_inpainter(model: str, device: str | None = None) -> Inpainter:
    """Load a model.

    Args:
        model: models:/NAME@ALIAS, models:/NAME/VERSION, a folder, a `.pt2`, a `.onnx`, weights as `.safetensors`, or a
            classical method.
        device: of torch, or None for what the machine has.

    Raises:
        InputError: there is no such model, or it cannot be loaded.
        TrackingError: MLflow cannot be reached.
    """
    if model.startswith(REGISTERED):
        try:
            return _open_registered(model, device)
        except NotRegisteredError:
            if model != registered.DEFAULT_MODEL or not (base := base_instead()):
                raise
            model = base
    return inpainter.load(exported(model), device)


def _open_registered(model: str, device: str | None) -> Inpainter:
    if not store.is_begun():  # asking would make a registry, and take seconds
        raise NotRegisteredError(f"{model} is not registered: nothing is; dvc repro registers models")
    with _remembered(model) as (folder, about):
        loaded = inpainter.load(folder, device)
    loaded.about = about
    return loaded


def base_instead() -> str:
    """Return the base weights, which fill while no model is registered, and say so; "" where there are none."""
    base = project.root() / BASE
    if not base.is_file():
        return ""
    typer.echo(f"no model is registered yet: {BASE} fills, which knows none of your photographs", err=True)
    return str(base)


def exported(model: str) -> str:
    """Return the folder of a model that was made of weights, made at the first use; other models as they are.

    Raises:
        InputError: the weights cannot be read, or torch is missing.
    """
    if not model.endswith(_WEIGHTS):
        return model
    path = Path(model)
    if not path.is_file():
        raise InputError(f"there are no weights at {path}")
    folder = project.root() / ".remembered/models" / f"weights-{sha256(path)[:16]}"
    if not all((folder / name).is_file() for name in _FILES):
        if find_spec("torch") is None:
            raise InputError(f"a model is made of {path} by torch, which is not installed: install the extra pipeline")
        from stages import base

        typer.echo(f"making a model of {path}, once", err=True)
        with fresh_folder(folder) as fresh:
            base.export(path, fresh)
    return str(folder)


@contextmanager
def _remembered(model: str) -> Iterator[tuple[Path, About]]:
    """Hand out the folder of a registered model's files, and what it is: as remembered, or as the registry says."""
    state, home = _state(), project.root() / ".remembered/models"
    note = home / f"{hashlib.sha256(model.encode()).hexdigest()[:16]}.json"
    with suppress(OSError, ValueError, LookupError, TypeError):  # nothing is remembered, or something damaged
        said = json.loads(note.read_text(encoding="utf-8"))
        folder = home / said["folder"]
        if state and said["state"] == state and _digests(folder) == said["files"]:
            yield folder, About(**said["about"])
            return
    versions = registered.versions()
    version = versions.resolve(model)
    about = About(version.name, version.number, version.digest, source=model)
    with versions.fetched(version) as fetched:
        with suppress(OSError):  # the project may be read-only
            name, files = f"{version.name}-{version.number}", _digests(fetched)
            with fresh_folder(home / name) as kept:
                for each in files:
                    shutil.copyfile(fetched / each, kept / each)
            write_json(note, {"state": state, "folder": name, "files": files, "about": asdict(about)})
            _forget(home)
        yield fetched, about


def _state() -> list[Any]:
    """Return what changes when the registry does; [] where that cannot be seen from here."""
    database = store.database()
    if database is None or not database.exists():
        return []
    files = [path for path in (database, *sorted(database.parent.glob(f"{database.name}-*"))) if path.exists()]
    return [store.uri(), *([path.name, path.stat().st_mtime_ns, path.stat().st_size] for path in files)]


def _digests(folder: Path) -> dict[str, str]:
    return {name: sha256(folder / name) for name in _FILES if (folder / name).is_file()}


def _forget(home: Path) -> None:
    """Delete the files of versions for which no name stands any more."""
    named = {json.loads(note.read_text(encoding="utf-8"))["folder"] for note in home.glob("*.json")}
    for folder in home.iterdir():
        if folder.is_dir() and folder.name not in named and not folder.name.startswith("weights-"):
            shutil.rmtree(folder, ignore_errors=True)
