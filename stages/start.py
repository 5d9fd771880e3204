"""Provide the weights that a training starts from: `data/start/KEY/weights.safetensors`.

    python -m stages.start pconv

`train.KEY.start_from` names them: `base`, a registered version such as `models:/inpaint-pconv@champion`, a file, or
`none` for random weights, which need no file. `inpaint retrain` names champions in data/starts.yaml; they come first
while the network keeps their shape. `start.json` beside the weights says where they are from.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from stages.runtime import guard
from stages.runtime.errors import InputError, ParamsError
from stages.runtime.files import fresh_folder, write_json, write_text
from stages.runtime.log import log
from stages.runtime.params import read
from stages.tracking import versions
from stages.training.settings import START, START_FILE, WEIGHTS, ModelEntry, differing

STARTS = Path("data/starts.yaml")
_COMMENT = "# Where trainings start instead of at `train.KEY.start_from`; inpaint retrain writes this file.\n"


def write_starts(starts: Mapping[str, str], path: Path = STARTS) -> None:
    """Write which weights the trainings start from, by key, as `inpaint retrain` wants it."""
    write_text(path, _COMMENT + yaml.safe_dump(dict(starts)))


def provide(wanted: str, base: Path, folder: Path) -> None:
    """Write start weights, and where they are from, into a folder.

    Args:
        wanted: `base`, `none`, a registered version or a file.
        base: file of the base weights.
        folder: is replaced.

    Raises:
        InputError: there are no such weights.
        TrackingError: MLflow cannot be reached.
    """
    with _found(wanted, base) as (name, path), fresh_folder(folder) as draft:
        if path is not None:
            shutil.copyfile(path, draft / WEIGHTS)
        write_json(draft / START_FILE, {"start_from": name})


@contextmanager
def _found(wanted: str, base: Path) -> Iterator[tuple[str, Path | None]]:
    """Yield the name and the file of start weights; an alias is resolved to a version."""
    if wanted == "none":
        yield wanted, None
    elif wanted.startswith(versions.SCHEME):
        version = versions.resolve(wanted)
        with versions.fetched_weights(version) as path:
            yield version.uri, path
    else:
        path = base if wanted == "base" else Path(wanted)
        if not path.is_file():
            raise InputError(
                f"start_from is {wanted}, but there is no file {path}; give the path of a {WEIGHTS}, a registered "
                "version such as models:/inpaint-pconv@champion, base or none"
            )
        yield wanted, path


def _differing(path: Path, settings: Mapping[str, Any]) -> list[str]:
    """Return the settings in which the network of some weights has another shape."""
    try:
        with safe_open(path, "np") as file:
            theirs = json.loads((file.metadata() or {})["about"])["settings"]
    except (SafetensorError, KeyError, ValueError):
        return []  # the training says what is wrong with the file
    return differing(theirs, settings)


def main(key: str) -> None:
    """Provide the start weights of the model called `key` in params.yaml."""
    entry, settings = read(f"models.{key}", ModelEntry), read(f"train.{key}", dict[str, Any])
    wanted, folder = str(settings.get("start_from", "")), START / key
    named = read_starts().get(key, "")
    if named:
        provide(named, entry.base, folder)
        differing = _differing(folder / WEIGHTS, settings) if (folder / WEIGHTS).exists() else []
        if not differing:
            log(f"{key}: starting from {named}, as {STARTS} says")
            return
        log(f"{key}: {named} has another {', '.join(differing)}; starting from {wanted} instead")
    provide(wanted, entry.base, folder)


def read_starts() -> dict[str, Any]:
    """Return the content of data/starts.yaml.

    Raises:
        ParamsError: it is missing, or no mapping.
    """
    try:
        return TypeAdapter(dict[str, str]).validate_python(yaml.safe_load(STARTS.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError):
        raise ParamsError(
            f"{STARTS} should have a line `KEY: models:/NAME/VERSION` for each start, or {{}}; git checkout it"
        ) from None


if __name__ == "__main__":
    sys.exit(guard.run_with_key("start", main))
