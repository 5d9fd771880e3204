"""What MLflow shows of the data that was trained on: which photographs, what became of them, pages to look at."""

import json
from pathlib import Path

import yaml

_COUNTS = Path("prepared/summary.json")
_MANIFEST = Path("prepared/manifest.parquet")
_MADE_OF_PHOTOGRAPHS = ("prepare", "masks", "augment")  # the stages whose outputs a training reads
_PAGES = {
    "photographs.html": Path("prepared/look.html"),
    "holes.html": Path("masks/look.html"),
    "altered_tiles.html": Path("augmented/look.html"),
}


def files(data: Path) -> list[Path]:
    """Return those of the files that there are.

    Args:
        data: folder of the pipeline's outputs.
    """
    return [data / name for name in (_COUNTS, *_PAGES.values()) if (data / name).exists()]


def counts(data: Path) -> dict[str, float]:
    """Return what became of the files, by the name of the metric."""
    path = data / _COUNTS
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {f"data/{name}": float(number) for name, number in found.items()}


def pages(data: Path) -> dict[str, str]:
    """Return the pages, by the name that they have as artifacts."""
    return {name: (data / path).read_text(encoding="utf-8") for name, path in _PAGES.items() if (data / path).exists()}


def photographs(data: Path) -> str:
    """Return SHA-256 and perceptual hash of the photographs that trainings learn from or are chosen by, a line each."""
    import pandas as pd

    manifest = pd.read_parquet(data / _MANIFEST, columns=["split", "photo", "perceptual_hash"])
    learned = manifest[manifest["split"] != "test"].drop_duplicates("photo").sort_values("photo")
    return "".join(f"{one.photo} {one.perceptual_hash}\n" for one in learned.itertuples())


def outputs(lock: Path) -> dict[str, str]:
    """Return DVC's hashes of what a training reads, by path; empty without a lock file."""
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.exists() else {}
    made = [out for stage in _MADE_OF_PHOTOGRAPHS for out in stages.get(stage, {}).get("outs", [])]
    return {str(out["path"]): str(out["md5"]) for out in made}
