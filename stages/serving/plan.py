"""Pairs photos with masks and output paths.

found = plan([Path("photos")], "masks", Path("filled"), "keep")
found.jobs, found.left_out
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.imaging.photos import CAMERA, SUFFIXES, WRITTEN, Format, kind_of
from stages.imaging.user_mask import ALPHA, is_text
from stages.runtime.errors import InputError

STANDARD = Path("-")  # input or output
_PAIRED = re.compile(r"_(mask|hole)\d*$")  # suffix of a mask beside its photo


@dataclass(frozen=True)
class Job:
    """One photo, its mask, and the path of the result."""

    image: Path
    hole: Path | str
    out: Path


@dataclass(frozen=True)
class Plan:
    """The photos to fill, and the files in their folders that are masks, or no photos by their names."""

    jobs: list[Job]
    left_out: list[Path]


def plan(images: Sequence[Path], hole: str, out: Path | None, wanted: Format) -> Plan:
    """Pair photos with masks and results; the results of a folder form the same tree.

    A mask, or a folder of masks or results, that lies in a folder of photos is not searched for photos.

    Args:
        images: photos, folders, which are searched recursively, or `STANDARD` alone.
        hole: a picture for all, a folder of pictures named like the photos (`a.png` or `a_mask.png` for `a.jpg`),
            `alpha`, or "left,top,right,bottom ...".
        out: a file for one photo, else a folder; or `STANDARD`; None if nothing is written.
        wanted: format of the results.

    Raises:
        InputError: an input does not exist, or a result would overwrite a photo, a mask or another result.
    """
    missing = [image for image in images if image != STANDARD and not image.exists()]
    if missing:
        raise InputError(f"{missing[0]} does not exist; expected a photo or a folder of photos")
    is_one = len(images) == 1 and not images[0].is_dir()
    if not is_one and out is not None:
        _check_folder(images, out)
    masks = _Masks(hole)
    if out is not None and (out == STANDARD or (is_one and out.suffix and not out.is_dir())):
        mask = masks.of(images[0], Path(images[0].name))
        return Plan(_checked([Job(images[0], mask, _file(out, wanted))]), [])
    if images[0] == STANDARD and out is not None:
        raise InputError(
            f"standard input has no name, so it cannot go into the folder {out}; use --out with a file or -"
        )
    jobs: list[Job] = []
    left_out: list[Path] = []
    for image in images:
        photos, others = _search(image, hole, out) if image.is_dir() else ([image], [])
        names = [photo.relative_to(image) if image.is_dir() else Path(photo.name) for photo in photos]
        jobs += [
            Job(photo, masks.of(photo, name), STANDARD if out is None else _renamed(out / name, wanted))
            for photo, name in zip(photos, names, strict=True)
        ]
        left_out += others
    return Plan(jobs if out is None else _checked(jobs), left_out)


def _check_folder(images: Sequence[Path], out: Path) -> None:
    """Refuse what cannot be a folder for the results of several photos."""
    if out == STANDARD:
        raise InputError("standard output takes one photo; use --out with a folder")
    if STANDARD in images:
        raise InputError("standard input is one photo and cannot be combined with others")
    if out.is_file() or (kind_of(out) and not out.exists()):
        raise InputError(f"{out} is the name of one picture, but several photos need a folder; use --out with another")


def _search(folder: Path, hole: str, out: Path | None) -> tuple[list[Path], list[Path]]:
    """Return the photos in a folder, and what is left out: other files, and masks beside the photos."""
    here, masks = folder.resolve(), Path(hole).resolve()
    results = None if out is None else out.resolve()
    if results == here:
        raise InputError(f"{out} is the folder of the photos; use --out with another one")
    within = [path for path in (results, masks) if path is not None and here in path.parents]
    photos: list[Path] = []
    others: list[Path] = []
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts) or not path.is_file():
            continue
        place = path.resolve()
        if any(folder in place.parents for folder in within):
            continue
        is_mask = place == masks or (masks == here and _PAIRED.search(path.stem))
        (photos if path.suffix.lower() in SUFFIXES and not is_mask else others).append(path)
    return photos, others


class _Masks:
    """Finds the masks of photos; `hole` is as for `plan`."""

    def __init__(self, hole: str) -> None:
        self._hole, self._folder = hole, Path(hole)
        self._is_for_all = is_text(hole)
        self._listed: dict[Path, dict[str, list[Path]]] = {}
        if not self._is_for_all and not self._folder.exists():
            raise InputError(
                f"the mask {hole} does not exist; expected a picture, a folder of masks, {ALPHA}, or boxes such as "
                "10,20,110,80"
            )

    def of(self, photo: Path, name: Path) -> Path | str:
        """Return the mask of a photo with the relative path `name` in its folder."""
        if self._is_for_all:
            return self._hole
        if not self._folder.is_dir():
            return self._folder
        folder = self._folder / name.parent
        if folder not in self._listed:
            by_stem = self._listed.setdefault(folder, {})
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if path.suffix.lower() in SUFFIXES:
                    by_stem.setdefault(_PAIRED.sub("", path.stem), []).append(path)
        candidates = [mask for mask in self._listed[folder].get(name.stem, []) if not mask.samefile(photo)]
        candidates.sort(key=lambda mask: (mask.name != name.name, mask.stem != name.stem))
        return [*candidates, folder / name][0]


def _file(out: Path, wanted: Format) -> Path:
    """Check that the format of a result matches its name."""
    kind = kind_of(out)
    if out != STANDARD and (kind not in WRITTEN or wanted not in ("keep", {"JPEG": "jpg", "PNG": "png"}.get(kind))):
        problem = f"--format is {wanted}" if kind in WRITTEN else f"results can be {', '.join(WRITTEN)}"
        raise InputError(f"{out}: {problem}; use --out with a matching suffix, or with an existing folder")
    return out


def _renamed(out: Path, wanted: Format) -> Path:
    if wanted != "keep":
        return out.with_suffix(f".{wanted}")
    kind = kind_of(out)
    if kind in WRITTEN:
        return out
    suffix = ".jpg" if kind in CAMERA else ".png"
    return out.with_suffix(suffix) if kind else out.with_name(out.name + suffix)


def _checked(jobs: list[Job]) -> list[Job]:
    taken: dict[Path, Path] = {}
    for job in jobs:
        for path, what in ((job.image, "the photo itself"), (job.hole, "the mask picture")):
            if isinstance(path, Path) and path.exists() and job.out.exists() and job.out.samefile(path):
                raise InputError(f"{job.out} is {what}; use another path with --out")
        if job.out in taken:
            raise InputError(
                f"{taken[job.out]} and {job.image} would both become {job.out}; rename one, or fill it separately"
            )
        taken[job.out] = job.image
    return jobs
