"""Models by the names that people use: registered ones, files, classical methods.

    inpainter = open_inpainter("models:/inpaint-pconv@champion")
"""

import os
from dataclasses import replace

from stages.restoring import inpainter
from stages.restoring.inpainter import Inpainter
from stages.running.errors import InputError

REGISTERED = "models:/"
DEFAULT = "models:/inpaint-pconv@champion"


def default() -> str:
    """Return the model that is used where none is named: `INPAINT_MODEL`, or the registry's PConvNet."""
    return os.environ.get("INPAINT_MODEL") or DEFAULT


def open_inpainter(model: str, device: str | None = None) -> Inpainter:
    """Load a model.

    Args:
        model: models:/NAME@ALIAS, models:/NAME/VERSION, a folder, a `.pt2`, a `.onnx`, or a classical method.
        device: of torch, or None for what the machine has.

    Raises:
        InputError: there is no such model, or it cannot be loaded.
        TrackingError: MLflow cannot be reached.
    """
    if not model.startswith(REGISTERED):
        return inpainter.load(model, device)
    try:
        from stages.tracking import versions

        version = versions.resolve(model)
        with versions.fetched(version) as path:
            loaded = inpainter.load(path, device)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{model} is in the registry, which needs {error.name}: pip install 'image-reconstruction[pipeline]', "
            "or say --model with a model.onnx"
        ) from None
    loaded.about = replace(loaded.about, name=version.name, version=version.number, source=model)
    return loaded
