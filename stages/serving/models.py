"""Models by the names that people use: registered ones, files, classical methods.

inpainter = open_inpainter("models:/inpaint-pconv@champion")
"""

from stages.inpainting import inpainter
from stages.inpainting.inpainter import About, Inpainter
from stages.serving import registered

REGISTERED = "models:/"


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
    versions = registered.versions()
    version = versions.resolve(model)
    with versions.fetched(version) as folder:
        loaded = inpainter.load(folder, device)
    loaded.about = About(version.name, version.number, version.digest, source=model)
    return loaded
