"""The models of a server: replaced when an alias in the registry moves, and loaded again after a crash.

    served = ModelManager(["models:/inpaint-pconv@champion", "telea"], device=None, poll_s=30, limits=Limits())
    served.load_first()
    with served.kept_up_to_date():
        model = served.pick("inpaint-pconv")
        reply = served.worker().fill(model, request)

A new version is loaded in a new process beside the old one, and replaces it once it has passed a self-test; the old
process ends after its last answer. A version that fails is refused and not tried again, and the old one stays.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from stages.inpainting.inpainter import CLASSICAL, About
from stages.runtime import project
from stages.runtime.errors import InpaintError, InputError, TrackingError, without_passwords
from stages.serving import registered
from stages.serving.limits import Limits
from stages.serving.models import exported
from stages.serving.worker import Source, Worker
from stages.tracking.versions import SCHEME

_RETRY_S = 5.0  # after a process failed to start


class ModelManager:
    """Models by name; the first is the default.

    Args:
        models: as for `open_inpainter`.
        device: of torch, or None for what the machine has.
        poll_s: seconds between polls of the registry.
        limits: of requests.

    Attributes:
        restarts: how often a process replaced one that had died.
    """

    def __init__(self, models: list[str], device: str | None, poll_s: float, limits: Limits) -> None:
        self._models = models
        self._device = device
        self._poll_s = poll_s
        self._limits = limits
        self._worker: Worker | None = None  # like the next two, only ever reassigned, so that readers need no lock
        self._refused: dict[str, dict[str, str]] = {}
        self._sources: dict[str, Source] = {}
        self._folders: dict[Source, ExitStack] = {}
        self._stopped, self._wake = threading.Event(), threading.Event()
        self.restarts = 0

    def load_first(self) -> None:
        """Load the default model.

        Raises:
            InputError: there is no such model, or it fails its self-test.
            TrackingError: MLflow cannot be reached.
        """
        first = self._models[0]
        self._take({first: self._source(first)})
        if first in self._refused:
            raise InputError(self._refused[first]["reason"])

    @contextmanager
    def kept_up_to_date(self) -> Iterator[None]:
        """Load the other models and follow the registry, in a thread, until the block ends."""
        self._stopped.clear()
        thread = threading.Thread(target=self._follow, name="models", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            self._wake.set()
            self.close()
            thread.join(timeout=10)
            self.close()  # in case the thread has just started a process

    def close(self) -> None:
        """End the process and delete the downloaded models."""
        if self._worker:
            self._worker.kill()
        for folder in self._folders.values():
            folder.close()

    def worker(self) -> Worker | None:
        """Return the worker process, None while one is being started in place of a dead one."""
        if self._worker is None or self._worker.is_alive():
            return self._worker
        self._wake.set()
        return None

    def pick(self, name: str = "") -> str:
        """Return the specification, as in `models`, of the model with this name or source; of the first one for "".

        Raises:
            KeyError: there is no such model.
            LookupError: none is loaded yet, or this one may be among those that are still being loaded.
        """
        loaded = self._loaded()
        if not loaded:
            raise LookupError("no model is loaded yet")
        for model, about in loaded.items():
            if name in ("", about.name, _shown(model)):
                return model
        there = f"there are: {', '.join(self.names())}"
        if loading := [_shown(model) for model in self._models if model not in loaded and model not in self._refused]:
            raise LookupError(f"{name!r} is not loaded yet; {there}; still being loaded: {', '.join(loading)}")
        raise KeyError(f"{name!r} is not served; {there}")

    def names(self) -> list[str]:
        """Return the names of the loaded models; the first is the default."""
        return [about.name for about in self._loaded().values()]

    def describe(self) -> list[dict[str, Any]]:
        """Return, for each model, the loaded version and the refused one; paths are relative to the project."""
        loaded, refused = self._loaded(), self._refused
        return [
            {
                "source": _shown(model),
                "loaded": model in loaded,
                **_identity(model, loaded.get(model)),
                "refused": _shown_why(model, refused[model]) if model in refused else None,
            }
            for model in self._models
        ]

    def _loaded(self) -> dict[str, About]:
        worker = self._worker
        return {model: worker.loaded[model] for model in self._models if model in worker.loaded} if worker else {}

    def _follow(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            try:
                if self._worker is not None and not self._worker.is_alive():
                    self.restarts += 1
                    self._take({})
                if new := self._changed():
                    self._take(new)
                self._wake.wait(self._poll_s)
            except InputError:  # the process failed to start
                self._stopped.wait(_RETRY_S)

    def _changed(self) -> dict[str, Source]:
        """Return the models that are new or have a new version, and note why others are unavailable."""
        new, refused = {}, dict(self._refused)
        for model in self._models:
            version = ""
            try:
                version = _version(model)
                held = self._sources.get(model)
                if held is not None and held.version == version:
                    refused.pop(model, None)
                elif model not in refused or refused[model]["version"] != version:
                    new[model] = self._source(model)
            except TrackingError as error:  # asked again at the next poll
                refused[model] = {"version": "", "reason": str(error)}
            except Exception as error:  # a damaged file may cause almost any; the server goes on with what it has
                reason = str(error) if isinstance(error, InpaintError) else f"{type(error).__name__}: {error}"
                refused[model] = {"version": version, "reason": without_passwords(reason)}
        self._refused = refused
        return new

    def _take(self, new: dict[str, Source]) -> None:
        """Start a process with new and present models, which takes over with those that pass their self-test."""
        ordered = [sources[model] for model in self._models for sources in (new, self._sources) if model in sources]
        worker, old = Worker(ordered, self._device, self._limits), self._worker
        self._refused = {model: why for model, why in self._refused.items() if model not in new} | worker.refused
        taken = {source.model: source for source in new.values() if source.model not in worker.refused}
        if not worker.loaded:
            worker.kill()
            return
        self._sources = {model: source for model, source in (self._sources | taken).items() if model in worker.loaded}
        self._worker = worker
        if old is not None:
            old.retire()
        for source in set(self._folders) - set(self._sources.values()):
            self._folders.pop(source).close()

    def _source(self, model: str) -> Source:
        if not model.startswith(SCHEME):
            return Source(model, exported(model))
        versions = registered.versions()
        version = versions.resolve(model)
        with ExitStack() as stack:
            folder = stack.enter_context(versions.fetched(version))
            source = Source(model, str(folder), About(version.name, version.number, version.digest, source=model))
            self._folders[source] = stack.pop_all()
        return source


def _identity(model: str, about: About | None) -> dict[str, str]:
    """Return name, version and digest; of a model that is not loaded the name, where its specification says it."""
    if about:
        return {"name": about.name, "version": about.version, "digest": about.digest}
    if model.startswith(SCHEME):
        return {"name": re.split("[@/]", model.removeprefix(SCHEME))[0]}
    return {"name": model} if model in CLASSICAL else {}


def _shown(model: str) -> str:
    """Return a specification without the folders of this machine: relative to the project, else the file's name."""
    shown = _without_root(model)
    return Path(shown).name if Path(shown).is_absolute() else shown


def _shown_why(model: str, refused: dict[str, str]) -> dict[str, str]:
    return refused | {"reason": _without_root(refused["reason"].replace(model, _shown(model)))}


def _without_root(text: str) -> str:
    return text.replace(f"{project.root()}/", "")


def _version(model: str) -> str:
    if not model.startswith(SCHEME):
        return ""
    return str(registered.versions().resolve(model).number)
