"""What MLflow shows of the data that was trained on: which photographs, what became of them, pages to look at."""

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


def pages(data: Path) -> dict[str, str]:
    """Return the pages, by the name that they have as artifacts."""
    return {name: (data / path).read_text(encoding="utf-8") for name, path in _PAGES.items() if (data / path).exists()}


def photographs(data: Path) -> str:
    """Return the hashes of the photographs that trainings learn from or are chosen by, a line each."""
    import pandas as pd

    manifest = pd.read_parquet(data / _MANIFEST, columns=["split", "photo"])
    learned = manifest.loc[manifest["split"] != "test", "photo"]
    return "".join(f"{photo}\n" for photo in sorted(set(learned)))


def outputs(lock: Path) -> dict[str, str]:
    """Return DVC's hashes of what a training reads, by path; empty without a lock file."""
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.exists() else {}
    made = [out for stage in _MADE_OF_PHOTOGRAPHS for out in stages.get(stage, {}).get("outs", [])]
    return {str(out["path"]): str(out["md5"]) for out in made}
