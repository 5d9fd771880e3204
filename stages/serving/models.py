"""Opens models by the names that people use: registered models, files, classical methods.

inpainter = open_inpainter("models:/inpaint-pconv@champion")

Registered models are cached in `.remembered/models` until the registry's database changes, since importing MLflow takes
seconds; a tracking server is asked every time. The folder may be deleted at any time. For a read-only project it is in
the user's cache folder or, if that cannot be written either, temporary.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import typer

from stages.inpainting import inpainter
from stages.inpainting.inpainter import About, Inpainter
from stages.runtime import project
from stages.runtime.errors import InputError, NotRegisteredError
from stages.runtime.files import fresh_folder, sha256, temporary_folder, write_json
from stages.serving import registered
from stages.tracking import store
from stages.tracking.versions import SCHEME

BASE = Path("data/base/pconv.safetensors")
_WEIGHTS = ".safetensors"
_FILES = ("model.pt2", "model.onnx")


def open_inpainter(model: str, device: str | None = None) -> Inpainter:
    """Load a model.

    Args:
        model: models:/NAME@ALIAS, models:/NAME/VERSION, a folder, a `.pt2`, `.onnx` or `.safetensors` file, or a
            classical method.
        device: of torch, or None for what the machine has.

    Raises:
        InputError: there is no such model, or it cannot be loaded.
        TrackingError: MLflow cannot be reached.
    """
    if model.startswith(SCHEME):
        try:
            return _open_registered(model, device)
        except NotRegisteredError:
            if model != registered.DEFAULT_MODEL or not (base := base_instead()):
                raise
            model = base
    return inpainter.load(exported(model), device)


def _open_registered(model: str, device: str | None) -> Inpainter:
    if not store.is_begun():  # asking MLflow would create a registry
        raise NotRegisteredError(f"{model} is not registered, nor is any other model; dvc repro registers models")
    with _cached(model) as (folder, about):
        loaded = inpainter.load(folder, device)
    loaded.about = about
    return loaded


def base_instead() -> str:
    """Return the path of the base weights, and print that they stand in for a registered model; "" without them."""
    base = project.root() / BASE
    if not base.is_file():
        return ""
    typer.echo(f"no model is registered yet: using {BASE}, which was not trained on your photographs", err=True)
    return str(base)


def exported(model: str) -> str:
    """Return a model that `inpainter.load` can open: weights are exported to a folder, once; others need nothing.

    Raises:
        InputError: the weights cannot be read, or torch is missing.
    """
    if not model.endswith(_WEIGHTS):
        return model
    path = Path(model)
    if not path.is_file():
        raise InputError(f"there are no weights at {path}")
    name = f"weights-{sha256(path)[:16]}"
    for home in _homes():
        if all((home / name / file).is_file() for file in _FILES):
            return str(home / name)
    if find_spec("torch") is None:
        raise InputError(f"{path} needs torch, which is not installed: install the extra pipeline")
    from stages import base

    folder = _writable_home() / name
    is_beside = folder.is_relative_to(project.root())
    typer.echo(f"exporting {path}, once" + ("" if is_beside else f", to {folder}: the project is read-only"), err=True)
    with fresh_folder(folder) as fresh:
        base.export(path, fresh)
    return str(folder)


def _homes() -> Iterator[Path]:
    """Yield the folders of the cache, in order of preference: in the project, the user's, a temporary one."""
    root = project.root()
    yield root / ".remembered/models"
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    yield users / "image-reconstruction" / hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    yield temporary_folder("models")


def _writable_home() -> Path:
    """Return the first folder of the cache that can be written."""
    for home in _homes():
        with suppress(OSError):
            home.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=home):
                return home
    raise InputError("no folder can be written to keep a model in; set TMPDIR to one that can be")


@contextmanager
def _cached(model: str) -> Iterator[tuple[Path, About]]:
    """Yield the folder of a registered model's files, and its identity, from the cache or else the registry."""
    state, note = _registry_state(), f"{hashlib.sha256(model.encode()).hexdigest()[:16]}.json"
    if found := _found(note, state):
        yield found
        return
    versions = registered.versions()
    version = versions.resolve(model)
    about = About(version.name, version.number, version.digest, source=model)
    with versions.fetched(version) as fetched:
        with suppress(OSError):  # the disk may be full
            home, name, files = _writable_home(), f"{version.name}-{version.number}", _digests(fetched)
            with fresh_folder(home / name) as kept:
                for file in files:
                    shutil.copyfile(fetched / file, kept / file)
            write_json(home / note, {"state": state, "folder": name, "files": files, "about": asdict(about)})
            _delete_unused(home)
        yield fetched, about


def _found(note: str, state: list[Any]) -> tuple[Path, About] | None:
    """Return what the cache has for a registry in this state, or None."""
    for home in _homes():
        with suppress(OSError, ValueError, LookupError, TypeError):  # not cached, or damaged
            cached = json.loads((home / note).read_text(encoding="utf-8"))
            folder = home / cached["folder"]
            if state and cached["state"] == state and _digests(folder) == cached["files"]:
                return folder, About(**cached["about"])
    return None


def _registry_state() -> list[Any]:
    """Return names, times and sizes of the registry's files, which change with it; [] if it is not in a file."""
    database = store.database()
    if database is None or not database.exists():
        return []
    files = [path for path in (database, *sorted(database.parent.glob(f"{database.name}-*"))) if path.exists()]
    return [store.uri(), *([path.name, path.stat().st_mtime_ns, path.stat().st_size] for path in files)]


def _digests(folder: Path) -> dict[str, str]:
    return {name: sha256(folder / name) for name in _FILES if (folder / name).is_file()}


def _delete_unused(home: Path) -> None:
    """Delete the files of versions that no cached name refers to."""
    named = {json.loads(note.read_text(encoding="utf-8"))["folder"] for note in home.glob("*.json")}
    for folder in home.iterdir():
        if folder.is_dir() and folder.name not in named and not folder.name.startswith("weights-"):
            shutil.rmtree(folder, ignore_errors=True)
