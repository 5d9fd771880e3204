"""The models that a server answers with: loaded, tested, and exchanged when an alias of the registry moves.

    served = ModelManager(["models:/inpaint-pconv@champion", "telea"], device=None, poll_s=30)
    served.load_first()
    with served.kept_up_to_date():
        inpainter = served.pick("inpaint-pconv")

A new version is loaded beside the old one and has to pass a self-test before it takes its place; requests that hold the
old one end with it. One that fails is refused and not tried again, and the old one stays.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stages.inpainting.inpainter import Inpainter
from stages.runtime.errors import InpaintError, InputError
from stages.serving import registered
from stages.serving.models import REGISTERED, open_inpainter


class ModelManager:
    """Models by name, the first one being used where none is named.

    Args:
        models: as for `open_inpainter`.
        device: of torch, or None for what the machine has.
        poll_s: seconds between looks at the registry.
    """

    def __init__(self, models: list[str], device: str | None, poll_s: float) -> None:
        self._models = models
        self._device = device
        self._poll_s = poll_s
        self._loaded: dict[
            str, Inpainter
        ] = {}  # by what it was asked for; assigned whole, so that readers need no lock
        self._refused: dict[str, dict[str, str]] = {}
        self._stopped = threading.Event()

    def load_first(self) -> None:
        """Load the model that is used where none is named.

        Raises:
            InputError: there is no such model, or it fails its self-test.
            TrackingError: MLflow cannot be reached.
        """
        self._loaded = {self._models[0]: self._tested(self._models[0])}

    @contextmanager
    def kept_up_to_date(self) -> Iterator[None]:
        """Load the other models, then follow the registry, in a thread, for as long as the block lasts."""
        self._stopped.clear()
        thread = threading.Thread(target=self._follow, name="models", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join(timeout=10)

    def pick(self, name: str = "") -> Inpainter:
        """Return a model by its name, the first one for "".

        Raises:
            KeyError: there is no such model.
            LookupError: none is loaded yet.
        """
        loaded = list(self._loaded.values())
        if not loaded:
            raise LookupError("no model is loaded yet")
        if not name:
            return loaded[0]
        return next((each for each in loaded if each.about.name == name), None) or self._missing(name)

    def _missing(self, name: str) -> Inpainter:
        raise KeyError(f"{name!r} is not served; there are: {', '.join(self.names())}")

    def names(self) -> list[str]:
        """Return the names of the models that are loaded, the first one being used where none is named."""
        return [inpainter.about.name for inpainter in self._loaded.values()]

    def describe(self) -> list[dict[str, Any]]:
        """Say of each model what answers now, and what was refused."""
        loaded, refused = self._loaded, self._refused
        return [
            {
                "source": model,
                "loaded": model in loaded,
                **(
                    {"name": each.name, "version": each.version, "digest": each.digest}
                    if (each := _about(loaded, model))
                    else {}
                ),
                "refused": refused.get(model),
            }
            for model in self._models
        ]

    def _follow(self) -> None:
        while True:
            for model in self._models:
                if self._stopped.is_set():
                    return
                self._renew(model)
            if self._stopped.wait(self._poll_s):
                return

    def _renew(self, model: str) -> None:
        """Load a model, or its new version; keep what is there where that fails, and say why."""
        version = ""
        try:
            current = self._loaded.get(model)
            version = _version(model)
            if current is not None and version == current.about.version:
                self._refused = {each: why for each, why in self._refused.items() if each != model}
                return
            if version and self._refused.get(model, {}).get("version") == version:
                return
            inpainter = self._tested(model)
        except Exception as error:  # the registry is away, a file is damaged: the server goes on with what it has
            words = str(error) if isinstance(error, InpaintError) else f"{type(error).__name__}: {error}"
            self._refused = {**self._refused, model: {"version": version, "reason": words}}
            return
        loaded = {**self._loaded, model: inpainter}
        self._refused = {each: why for each, why in self._refused.items() if each != model}
        self._loaded = {each: loaded[each] for each in self._models if each in loaded}

    def _tested(self, model: str) -> Inpainter:
        inpainter = open_inpainter(model, self._device)
        taken = [
            each for each, other in self._loaded.items() if other.about.name == inpainter.about.name and each != model
        ]
        if taken:
            raise InputError(f"{model} has the name {inpainter.about.name!r}, as {taken[0]} has; serve one of them")
        inpainter.self_test()
        return inpainter


def _about(loaded: dict[str, Inpainter], model: str) -> Any:
    return loaded[model].about if model in loaded else None


def _version(model: str) -> str:
    if not model.startswith(REGISTERED):
        return ""
    return str(registered.versions().resolve(model).number)
