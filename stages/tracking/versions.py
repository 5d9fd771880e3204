"""Finds and downloads registered models: `models:/inpaint-pconv@champion`, `models:/inpaint-pconv/3`.

version = resolve("models:/inpaint-pconv@champion")
with fetched(version) as folder: ...               # contains model.pt2 and model.onnx
"""

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.runtime.errors import InputError, NotRegisteredError
from stages.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient

SCHEME = "models:/"  # of URIs
TRAINED_ON = "photographs.txt"  # artifact of a run: SHA-256 and perceptual hash of its photographs
MODEL_SHA = "model_sha256"  # tag, also of logged models: SHA-256 of `model.pt2`
ONNX_SHA = "onnx_sha256"  # tag: SHA-256 of `model.onnx`
WEIGHTS = "weights.safetensors"  # artifact of a run: what another training can start from
WEIGHTS_SHA = "weights_sha256"  # tag: their SHA-256
OUTPUT = "dvc."  # prefix of tags, followed by the path of a pipeline output: its DVC hash
SCORES = ("photo_distance", "photo_psnr_db", "photo_sharpness", "tile_psnr_db")  # tags, if measured
_URI = re.compile(r"models:/(?P<name>[^@/]+)(@(?P<alias>[^@/]+)|/(?P<number>\d+))")


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    Attributes:
        name: of the registered model.
        number: of the version.
        digest: SHA-256 of its `model.pt2`.
        aliases: of the version.
        made_ms: time of registration, in milliseconds since 1970.
        description: Markdown.
        run_id: of its training.
        tags: facts for programs.
    """

    name: str
    number: str
    digest: str
    aliases: tuple[str, ...]
    made_ms: int
    description: str
    run_id: str
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        """Its URI."""
        return f"{SCHEME}{self.name}/{self.number}"

    @property
    def scores(self) -> dict[str, float]:
        """Test scores, from the tags."""
        return {name: float(self.tags[name]) for name in SCORES if name in self.tags}


def resolve(uri: str) -> Version:
    """Find the version that a URI refers to.

    Raises:
        InputError: the URI is malformed.
        NotRegisteredError: there is no such version.
    """
    named = _URI.fullmatch(uri)
    if named is None:
        raise InputError(f"a registered model should be models:/NAME@ALIAS or models:/NAME/VERSION, but is {uri!r}")
    for version in registered(named["name"]):
        if named["alias"] in version.aliases or named["number"] == version.number:
            return version
    known = ", ".join(sorted({version.name for version in registered()})) or "none"
    raise NotRegisteredError(
        f"{uri} is not registered at {store.shown()}; dvc repro registers models; there are: {known}"
    )


def registered(name: str = "") -> list[Version]:
    """Return all versions, or those of one registered model, sorted by name, the newest first."""
    if not store.is_begun():  # asking would create the database
        return []
    with store.reached():
        client = store.connect()
        found = [version for model in ([name] if name else _names(client)) for version in _versions_of(client, model)]
    return sorted(found, key=lambda version: (version.name, -int(version.number)))


def _names(client: "MlflowClient") -> list[str]:
    """List this project's registered models, or all models of a store that cannot search by tags."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.search_model_versions(f"tags.`{MODEL_SHA}` != ''")
        return sorted({str(version.name) for version in found})
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
    return sorted(str(model.name) for model in pages(client.search_registered_models))


def _versions_of(client: "MlflowClient", name: str) -> list[Version]:
    """Read the versions of a registered model, one by one if the store's search omits tags."""
    found: list[Any] = []
    aliases: Mapping[str, Any] = {}
    with _unless_gone():
        found = list(pages(client.search_model_versions, f"name = '{_quoted(name)}'"))
        aliases = client.get_registered_model(name).aliases if found else {}
    versions = []
    for one in found:
        with _unless_gone():
            # Tags are also missing if another machine is deleting the version.
            versions.append(_version(one if one.tags else client.get_model_version(name, str(one.version)), aliases))
    return versions


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Ignore what does not exist, or no longer."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def pages(search: Callable[..., Any], *words: Any) -> Iterator[Any]:
    """Yield all results of a paginated search of MLflow's client."""
    page = search(*words)
    yield from page
    while page.token:
        page = search(*words, page_token=page.token)
        yield from page


def _quoted(name: str) -> str:
    if not re.fullmatch(r"[\w. -]+", name):
        raise InputError(f"no registered model is called {name!r}")
    return name


def _version(found: Any, aliases: Mapping[str, Any]) -> Version:
    name, number = str(found.name), str(found.version)
    mine = tuple(sorted(alias for alias, of in aliases.items() if str(of) == number))
    tags = {str(key): str(value) for key, value in found.tags.items()}
    made, description = int(found.creation_timestamp), str(found.description or "")
    return Version(name, number, tags.get(MODEL_SHA, ""), mine, made, description, str(found.run_id or ""), tags)


@contextmanager
def fetched(version: Version) -> Iterator[Path]:
    """Download `model.pt2` and `model.onnx` of a version into a folder that is deleted after the block.

    Raises:
        InputError: a file is missing, or differs from the registered one.
    """
    from stages.runtime.files import sha256

    registered = {"model.onnx": version.tags.get(ONNX_SHA, "")}  # "": registered without
    if version.digest:
        registered["model.pt2"] = version.digest
    with tempfile.TemporaryDirectory() as place:
        with store.reached():
            from mlflow.artifacts import download_artifacts, list_artifacts

            store.connect()
            files = f"{version.uri}/artifacts"
            found = {Path(each.path).name for each in list_artifacts(files)}
            # Not the whole model: MLflow would add a file to its copy, which is as read-only as the model.
            folder = Path(download_artifacts(files, dst_path=place)) if found else Path(place)
        if "model.pt2" not in found:
            raise InputError(
                f"version {version.number} of {version.name} has no model.pt2, so it is not a model of this project"
            )
        for name, digest in registered.items():
            if digest != (sha256(folder / name) if (folder / name).is_file() else ""):
                raise InputError(
                    f"{name} of {version.name} version {version.number} is not the one that was registered"
                )
        yield folder


@contextmanager
def fetched_weights(version: Version) -> Iterator[Path]:
    """Download the weights that a training can start from; the file is deleted after the block.

    Raises:
        InputError: there are none, or they differ from the registered ones.
    """
    from stages.runtime.files import sha256

    digest = version.tags.get(WEIGHTS_SHA, "")
    if not digest:
        raise InputError(f"{version.uri} has no weights to start from: it was registered without them; train it anew")
    with tempfile.TemporaryDirectory() as folder:
        with store.reached():
            client = store.connect()
            found = any(artifact.path == WEIGHTS for artifact in client.list_artifacts(version.run_id))
            path = Path(client.download_artifacts(version.run_id, WEIGHTS, folder)) if found else None
        if path is None or sha256(path) != digest:
            raise InputError(
                f"the {WEIGHTS} of {version.uri} is {'not the one that was registered' if found else 'gone'}"
            )
        yield path


def trained_on(version: Version) -> dict[str, str] | None:
    """Return the photographs that a version was trained on, None if its run does not list them.

    Returns:
        perceptual hash, as written by `stages.imaging.near.as_text`, by SHA-256; "" in runs of earlier releases.
    """
    with store.reached(), tempfile.TemporaryDirectory() as folder:
        client = store.connect()
        if all(artifact.path != TRAINED_ON for artifact in client.list_artifacts(version.run_id)):
            return None
        path = client.download_artifacts(version.run_id, TRAINED_ON, folder)
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        return {digest: hashes for digest, _, hashes in (line.partition(" ") for line in lines)}
