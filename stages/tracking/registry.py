"""Registers trained models: one version for each set of weights.

    number, alias = register(Registration(name="inpaint-pconv", run_id=run_id, ...))

The first version of a registered model becomes its `champion`, every later one `challenger`; the champion is never
changed here.
"""

import base64
import io
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.runtime.errors import InputError
from stages.runtime.files import sha256
from stages.tracking import aliases, store, versions
from stages.tracking.versions import MODEL_SHA, ONNX_SHA, Version

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

_REQUIREMENTS = ("mlflow", "numpy", "onnxruntime", "pandas", "pillow", "pypatchmatch", "torch")
_UNDER_WAY_MS = 600_000  # in which a version without alias may still be in registration
_EXAMPLE_SIZE = (96, 128)  # height, width of the input example in pixels


@dataclass(frozen=True)
class Registration:
    """A trained model to register.

    Attributes:
        name: of the registered model, e.g. "inpaint-pconv".
        about: description of the registered model, set when it is created.
        run_id: run of the training.
        experiment: name of the run's experiment.
        model: path of `model.pt2`.
        onnx: path of the equivalent `model.onnx`.
        code: Python file with the MLflow model (models from code).
        cropping: Python package for holes of any size, used by `code`.
        sha256: of `model`; the same weights are registered only once.
        tags: facts for programs.
        description: of the version, Markdown.
    """

    name: str
    about: str
    run_id: str
    experiment: str
    model: Path
    onnx: Path
    code: Path
    cropping: Path
    sha256: str
    tags: Mapping[str, str]
    description: str


def register(registration: Registration) -> tuple[str, str]:
    """Register a model, unless a version with these weights exists, and set an alias.

    Returns:
        the number of the version, and its new alias; "" if the version was complete before.

    Raises:
        InputError: the model fails on its input example.
    """
    with store.reached(), store.locked("registry"):
        client = store.connect()
        _ensure_registered_model(client, registration)
        version = _find_version(registration) or _create_version(client, registration)
        if store.PUBLISHED in version.tags:
            return version.number, ""
        first = _is_first(version)
        alias = aliases.CHAMPION if first else aliases.CHALLENGER
        if first:
            aliases.write_down(client, registration.name, version.number, "the first version")
        name, number, digest = registration.name, version.number, registration.sha256
        store.set_with_retry(lambda: client.set_registered_model_alias(name, alias, number))
        store.set_with_retry(lambda: client.set_model_version_tag(name, number, store.PUBLISHED, digest))
        return number, alias


def _ensure_registered_model(client: "MlflowClient", registration: Registration) -> None:
    if not versions.registered(registration.name):
        with store.made_once():
            client.create_registered_model(registration.name, description=registration.about)


def _is_first(version: Version) -> bool:
    """Return whether a version becomes the champion: there is none, and no other machine is registering one.

    A complete version has its alias already, so only incomplete earlier versions may still become champion.
    """
    known = versions.registered(version.name)
    under_way = [
        other
        for other in known
        if int(other.number) < int(version.number)
        and store.PUBLISHED not in other.tags
        and version.made_ms - other.made_ms < _UNDER_WAY_MS
    ]
    return not under_way and not any(aliases.CHAMPION in other.aliases for other in known)


def _find_version(registration: Registration) -> Version | None:
    found = [version for version in versions.registered(registration.name) if version.digest == registration.sha256]
    return found[-1] if found else None


def _create_version(client: "MlflowClient", registration: Registration) -> Version:
    model_id = _find_logged(client, registration) or _log(client, registration)
    made = client.create_model_version(
        registration.name,
        source=f"models:/{model_id}",
        run_id=registration.run_id,
        model_id=model_id,
        tags={**registration.tags, MODEL_SHA: registration.sha256, ONNX_SHA: sha256(registration.onnx)},
        description=registration.description,
    )
    number = str(made.version)
    earlier = _find_version(registration)
    if earlier is not None and earlier.number != number:
        client.delete_model_version(registration.name, number)  # another machine was faster
        return earlier
    return versions.resolve(f"models:/{registration.name}/{number}")


def _find_logged(client: "MlflowClient", registration: Registration) -> str | None:
    """Find a complete logged model of an interrupted call."""
    experiment_id = store.experiment_id(client, registration.experiment)
    found = client.search_logged_models([experiment_id], f"tags.`{MODEL_SHA}` = '{registration.sha256}'")
    return next((str(model.model_id) for model in found if model.status == "READY"), None)


def _log(client: "MlflowClient", registration: Registration) -> str:
    from mlflow.entities import LoggedModelOutput

    experiment_id = store.experiment_id(client, registration.experiment)
    facts: dict[str, Any] = {"tags": {MODEL_SHA: registration.sha256}, "model_type": "inpainting"}
    name = registration.tags.get("key", "model")
    model_id = str(client.create_logged_model(experiment_id, name, registration.run_id, **facts).model_id)
    try:
        _log_scores(client, registration, model_id)
        _upload(registration, model_id)
    except BaseException:
        with suppress(Exception):  # the first error says more
            client.delete_logged_model(model_id)
        raise
    client.log_outputs(registration.run_id, [LoggedModelOutput(model_id, step=0)])
    return model_id


def _log_scores(client: "MlflowClient", registration: Registration, model_id: str) -> None:
    """Log the scores among the tags as metrics of the model, each tied to its test, for MLflow's list of models."""
    from mlflow.entities import Metric

    now_ms, tags = time.time_ns() // 1_000_000, registration.tags
    tests = {name: "data/photographs" if name.startswith("photo_") else "data/pairs.csv" for name in versions.SCORES}
    metrics = [
        Metric(
            name, float(tags[name]), now_ms, 0, model_id=model_id, dataset_name=test,
            dataset_digest=tags.get(f"{versions.OUTPUT}{test}", "unknown"),
        )
        for name, test in tests.items()
        if name in tags
    ]  # fmt: skip
    client.log_batch(registration.run_id, metrics=metrics)


def _upload(registration: Registration, model_id: str) -> None:
    """Upload the content of a logged model, then load it and test it with the example."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs = Schema([ColSpec("string", "image"), ColSpec("string", "hole")])
    example = input_example()
    with tempfile.TemporaryDirectory() as folder:
        cropping = Path(folder) / "cropping"
        shutil.copytree(registration.cropping, cropping, ignore=shutil.ignore_patterns("__pycache__"))
        mlflow.pyfunc.log_model(
            model_id=model_id,
            python_model=str(registration.code),
            artifacts={"model": str(registration.model), "onnx": str(registration.onnx), "cropping": str(cropping)},
            signature=ModelSignature(inputs=inputs, outputs=Schema([ColSpec("string", "composite")])),
            input_example=example,
            # Otherwise MLflow would run the model in another process to find them.
            pip_requirements=[
                f"{name}=={installed(name).split('+')[0]}" for name in _REQUIREMENTS if _is_installed(name)
            ],
        )
    answer: Any = mlflow.pyfunc.load_model(f"models:/{model_id}").predict(example)
    if list(answer.columns) != ["composite"] or len(answer) != 1:
        raise InputError(
            f"{registration.model} should answer its example with one composite, but answers {answer!r}; train again"
        )


def _is_installed(name: str) -> bool:
    """Return whether a package is installed; pypatchmatch is optional."""
    try:
        return bool(installed(name))
    except PackageNotFoundError:
        return False


def input_example() -> "pd.DataFrame":
    """Return a synthetic picture with a hole: one row of base64 PNG files in the columns `image` and `hole`."""
    import pandas as pd

    h, w = _EXAMPLE_SIZE
    rows, columns = np.mgrid[0:h, 0:w]
    image = np.stack([255 * rows // h, 255 * columns // w, 128 + 0 * rows], axis=2).astype(np.uint8)
    hole = np.where((abs(rows - h // 2) < h // 6) & (abs(columns - w // 3) < w // 6), 255, 0).astype(np.uint8)
    image[hole > 0] = 0
    return pd.DataFrame({"image": [_png(image)], "hole": [_png(hole)]})


def _png(pixels: "np.ndarray[Any, Any]") -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
