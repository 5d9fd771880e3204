"""The training data as shown in MLflow: photographs, and DVC's hashes."""

from pathlib import Path

import yaml

_MANIFEST = Path("prepared/manifest.parquet")
_MADE_OF_PHOTOGRAPHS = ("prepare", "masks", "augment")  # stages whose outputs trainings read


def photographs(data: Path) -> str:
    """Return SHA-256 and perceptual hash of the training and validation photographs, a line each."""
    import pandas as pd

    manifest = pd.read_parquet(data / _MANIFEST, columns=["split", "photo", "perceptual_hash"])
    learned = manifest[manifest["split"] != "test"].drop_duplicates("photo").sort_values("photo")
    return "".join(f"{one.photo} {one.perceptual_hash}\n" for one in learned.itertuples())


def outputs(lock: Path) -> dict[str, str]:
    """Return DVC's hashes of the inputs of trainings, by path; empty without a lock file."""
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.exists() else {}
    made = [out for stage in _MADE_OF_PHOTOGRAPHS for out in stages.get(stage, {}).get("outs", [])]
    return {str(out["path"]): str(out["md5"]) for out in made}
