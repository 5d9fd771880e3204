"""The training data as shown in MLflow: photographs, and DVC's hashes."""

from collections.abc import Mapping
from pathlib import Path

import yaml

_MANIFEST = Path("prepared/manifest.parquet")
_READ = ("prepare", "masks", "augment", "start@{key}")  # stages whose outputs a training reads


def photographs(data: Path, inherited: Mapping[str, str]) -> str:
    """Return SHA-256 and perceptual hash of the photographs that a model has seen, a line each.

    Args:
        data: folder of the pipeline's outputs.
        inherited: hashes of those that the model it started from had seen.
    """
    from stages.imaging.manifest import hashes_of

    seen = {**inherited, **hashes_of(data / _MANIFEST, ["train", "val"])}
    return "".join(f"{photo} {hashes}\n" for photo, hashes in sorted(seen.items()))


def outputs(lock: Path, key: str) -> dict[str, str]:
    """Return DVC's hashes of the inputs of a training, by path; empty without a lock file."""
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.exists() else {}
    made = [out for stage in _READ for out in stages.get(stage.format(key=key), {}).get("outs", [])]
    return {str(out["path"]): str(out["md5"]) for out in made}
