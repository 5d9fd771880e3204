"""One photo or a folder of them through a model: what `inpaint run` and `inpaint check` do.

A photo that cannot be used costs its own result, never that of the others.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages.imaging import user_mask
from stages.imaging.images import BadImageError, printable_name
from stages.imaging.photos import SUFFIXES, Format, Photo, encode, lost, open_photo, target
from stages.imaging.user_mask import HoleIs, UserMask
from stages.inpainting.challenge import Boxes, hole_of
from stages.inpainting.cropping import Pixels, Settings
from stages.inpainting.inpainter import Inpainter
from stages.inpainting.photo import fill as fill_photo
from stages.runtime.errors import InpaintError, InputError
from stages.runtime.files import atomic_write, inside

MAX_MEGAPIXELS = 178
ALPHA = "alpha"
_BOXES = re.compile(r"\s*\d+,\d+,\d+,\d+(\s+\d+,\d+,\d+,\d+)*\s*")

Status = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class Options:
    """How photos are filled and written.

    Attributes:
        hole_is: the colour that means "missing".
        settings: of the crops.
        format: of the results.
        quality: of JPEG, 1 to 100; None: as the photo's own.
        keep_exif: camera, time, place and comments go into the result, too.
        concat: write before, hole and after side by side.
        resume: leave results that are there.
    """

    hole_is: HoleIs = "white"
    settings: Settings = field(default_factory=Settings)
    format: Format = "keep"
    quality: int | None = None
    keep_exif: bool = False
    concat: bool = False
    resume: bool = False


@dataclass(frozen=True)
class Job:
    """One photo, its hole, and where the result is to stand."""

    image: Path
    hole: Path | str
    out: Path


def plan(image: Path, hole: str, out: Path, wanted: Format) -> list[Job]:
    """Say what is filled by what: one photo, or all of a folder in a tree like theirs.

    Args:
        image: a photo, or a folder that is searched in depth.
        hole: a picture for all, a folder of pictures named like the photos, `alpha`, or "left,top,right,bottom ...".
        out: a file for one photo, a folder for many.
        wanted: format of the results.

    Raises:
        InputError: nothing is there to be filled, or results would stand where photos do.
    """
    if image.is_dir():
        photos = [path for path in _photos(image) if not path.is_relative_to(out)]
        if not photos:
            raise InputError(f"no photos in {image}: wanted are files that end in {', '.join(SUFFIXES)}")
        jobs = [
            Job(path, _hole(hole, path.relative_to(image)), _renamed(out / path.relative_to(image), wanted))
            for path in photos
        ]
    else:
        if not image.exists():
            raise InputError(f"{image} does not exist; wanted is a photo or a folder of them")
        jobs = [Job(image, _hole(hole, Path(image.name)), out if out.suffix else _renamed(out / image.name, wanted))]
    return _checked(jobs)


def _photos(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _hole(hole: str, photo: Path) -> Path | str:
    if hole == ALPHA or _BOXES.fullmatch(hole):
        return hole
    path = Path(hole)
    if not path.is_dir():
        return path
    named_alike = sorted(
        each for each in (path / photo.parent).glob(f"{_literal(photo.stem)}.*") if each.suffix.lower() in SUFFIXES
    )
    same = [each for each in named_alike if each.name == photo.name]
    return (same or named_alike or [path / photo])[0]


def _literal(stem: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", stem)


def _renamed(out: Path, wanted: Format) -> Path:
    if wanted == "keep":
        return (
            out if SUFFIXES[out.suffix.lower()] in ("JPEG", "PNG", "WEBP", "TIFF", "BMP") else out.with_suffix(".png")
        )
    return out.with_suffix(f".{wanted}")


def _checked(jobs: list[Job]) -> list[Job]:
    taken: dict[Path, Path] = {}
    for job in jobs:
        if job.out.exists() and job.out.samefile(job.image):
            raise InputError(f"{job.out} is the photo itself; say another place with --out")
        if job.out in taken:
            raise InputError(f"{job.image} and {taken[job.out]} would both become {job.out}; leave --format at keep")
        taken[job.out] = job.image
    return jobs


def fill(jobs: list[Job], inpainter: Inpainter, options: Options) -> Iterator[dict[str, Any]]:
    """Fill one photo after the other; yield a record of each: `image`, `out`, `status`, and `error` or the report."""
    for job in jobs:
        said = {"image": printable_name(job.image), "hole": printable_name(job.hole), "out": printable_name(job.out)}
        if options.resume and job.out.exists():
            yield said | {"status": "skipped"}
            continue
        try:
            report = _fill(job, inpainter, options)
        except Exception as error:  # whatever one photo brings about
            yield said | {"status": "failed", "error": _words(error)}
        else:
            yield said | {"status": "done"} | report


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, (InpaintError, ValueError)) else f"{type(error).__name__}: {error}"


def _fill(job: Job, inpainter: Inpainter, options: Options) -> dict[str, Any]:
    photo, mask = _read(job, options.hole_is)
    written, report = fill_photo(photo, mask, inpainter, options.settings)
    if options.concat:
        panels = [photo.pixels, _drawn(mask), written.pixels]
        written = Photo(np.concatenate(panels, axis=1), None, photo.format, photo.metadata, encoding=photo.encoding)
    kind = target(written, options.format, job.out.suffix)
    content = encode(written, kind, options.quality, options.keep_exif)
    with atomic_write(job.out) as file:
        file.write(content)
    return report | {"warnings": [*report["warnings"], *lost(written, kind, options.keep_exif)]}


def _drawn(given: UserMask) -> Pixels:
    return np.repeat(np.where(given.missing, np.uint8(255), np.uint8(0))[..., None], 3, axis=2)


def _read(job: Job, hole_is: HoleIs) -> tuple[Photo, UserMask]:
    photo = open_photo(job.image, MAX_MEGAPIXELS)
    h, w = photo.pixels.shape[:2]
    if job.hole == ALPHA:
        return photo, user_mask.transparent(photo)
    if isinstance(job.hole, str):
        return photo, user_mask.boxed(user_mask.parse_boxes(job.hole), h, w)
    if not job.hole.exists():
        raise InputError(
            f"{job.hole} does not exist; wanted is a picture of the hole, a folder of them, boxes or `alpha`"
        )
    given = user_mask.open_hole(job.hole, hole_is, MAX_MEGAPIXELS)
    user_mask.check_size(given, photo)
    return photo, given


def check(jobs: list[Job], options: Options) -> Iterator[dict[str, Any]]:
    """Look at photos and holes without filling anything; yield a record of each."""
    for job in jobs:
        said = {"image": printable_name(job.image), "hole": printable_name(job.hole)}
        try:
            photo, given = _read(job, options.hole_is)
        except (InpaintError, BadImageError, OSError) as error:
            yield said | {"status": "failed", "error": _words(error)}
            continue
        h, w = photo.pixels.shape[:2]
        share = round(float(given.missing.mean()), 6)
        warnings = [*photo.notes, *given.warnings]
        yield said | {
            "status": "done",
            "size": [w, h],
            "hole_share": share,
            "hole_from": given.source,
            "warnings": warnings,
        }


def restored(folder: Path, boxes: dict[str, Boxes], inpainter: Inpainter) -> Iterator[tuple[str, Boxes, Pixels]]:
    """Fill the boxes of the challenge's pictures, one after the other; the rest as `write_submission` takes it.

    Raises:
        InputError: a picture cannot be used: the table would not be whole.
    """
    for name, corners in boxes.items():
        pixels = open_photo(inside(folder, name), MAX_MEGAPIXELS).pixels
        missing = hole_of(corners, (pixels.shape[0], pixels.shape[1]), name).astype(bool)
        yield name, corners, inpainter(pixels, missing, Settings())[0]


def summary(records: list[dict[str, Any]], inpainter: Inpainter, options: Options) -> dict[str, Any]:
    """Return what `--report` writes."""
    counts = {status: sum(record["status"] == status for record in records) for status in ("done", "skipped", "failed")}
    return {"model": asdict(inpainter.about), "options": asdict(options), "counts": counts, "files": records}
