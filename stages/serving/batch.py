"""Fill or check many photos: the work of `inpaint run` and `inpaint check`.

A photo that fails does not affect the others.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages.imaging.images import BadImageError, printable_name
from stages.imaging.photos import Format, Photo, encode, lost, read_photo, target
from stages.imaging.user_mask import HoleIs, UserMask, mask_of
from stages.inpainting import edges
from stages.inpainting.challenge import Boxes, hole_of
from stages.inpainting.cropping import Pixels, Settings
from stages.inpainting.inpainter import Inpainter
from stages.inpainting.photo import fill as fill_photo
from stages.runtime import machine
from stages.runtime.errors import InpaintError, InputError
from stages.runtime.files import atomic_write, inside
from stages.serving.models import open_inpainter
from stages.serving.plan import STANDARD, Job, Plan

MAX_MEGAPIXELS = 178

Status = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class Options:
    """How to fill and write photos.

    Attributes:
        hole_is: the mask colour that means "missing".
        settings: how to fill.
        format: of the results.
        quality: of JPEG, 1 to 100; None: that of the photo.
        keep_exif: whether to keep camera, time, place and comments.
        concat: whether to write before, hole and after side by side.
        resume: whether to skip photos whose result exists.
    """

    hole_is: HoleIs = "white"
    settings: Settings = field(default_factory=Settings)
    format: Format = "keep"
    quality: int | None = None
    keep_exif: bool = False
    concat: bool = False
    resume: bool = False


def arriving(look: Callable[[], Plan], poll_s: float = 1.0) -> Iterator[Job]:
    """Yield, for ever, the photos without a result newer than themselves: the present ones, then those that arrive.

    Args:
        look: returns the present plan.
        poll_s: seconds between polls; a photo modified since the last one is left to the next.
    """
    tried: dict[Path, int] = {}
    while True:
        for job in look().jobs:
            with suppress(FileNotFoundError):  # deleted meanwhile
                changed_ns = job.image.stat().st_mtime_ns
                is_settled = abs(time.time_ns() - changed_ns) > poll_s * 1e9
                is_done = job.out.exists() and job.out.stat().st_mtime_ns >= changed_ns
                if is_settled and not is_done and tried.get(job.image) != changed_ns:
                    tried[job.image] = changed_ns
                    yield job
        time.sleep(poll_s)


def fill(jobs: Iterable[Job], inpainter: Inpainter, options: Options) -> Iterator[dict[str, Any]]:
    """Fill photos one by one; yield a record of each: `image`, `hole`, `out`, `status`, and `error` or the report."""
    for job in jobs:
        yield _record(job, inpainter, options)


def fill_by_workers(
    jobs: list[Job], model: str, device: str | None, options: Options, workers: int
) -> Iterator[dict[str, Any]]:
    """Fill photos in several processes, each with its own model; otherwise like `fill`, in the same order.

    Raises:
        InputError: a process died.
    """
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    threads = max(1, machine.cores() // workers)
    parallel = Parallel(n_jobs=workers, return_as="generator", batch_size=1)
    try:
        yield from parallel(delayed(_by_worker)(job, model, device, options, threads) for job in jobs)
    except TerminatedWorkerError:
        raise InputError("a worker died, perhaps for lack of memory; lower --workers") from None


def _by_worker(job: Job, model: str, device: str | None, options: Options, threads: int) -> dict[str, Any]:
    os.environ["LOKY_MAX_CPU_COUNT"] = str(threads)  # which `machine.cores` returns in this process
    return _record(job, _kept_inpainter(model, device), options)


_kept_inpainter = cache(open_inpainter)


def _record(job: Job, inpainter: Inpainter, options: Options) -> dict[str, Any]:
    names = {"image": printable_name(job.image), "hole": printable_name(job.hole), "out": printable_name(job.out)}
    if options.resume and job.out.exists():
        return names | {"status": "skipped"}
    try:
        return names | {"status": "done"} | _fill(job, inpainter, options)
    except Exception as error:  # a damaged photo may cause almost any
        return names | {"status": "failed", "error": _message(error)}


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return printable_name(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    if isinstance(error, BadImageError) and not error.name:  # the record names the photo
        return f"{error.detail} ({error.code})"
    is_for_users = isinstance(error, (InpaintError, ValueError))
    return printable_name(str(error) if is_for_users else f"{type(error).__name__}: {error}")


def _fill(job: Job, inpainter: Inpainter, options: Options) -> dict[str, Any]:
    photo, mask = _read(job, options.hole_is)
    filled, report = fill_photo(photo, mask, inpainter, options.settings)
    if options.concat:
        drawn = np.repeat(np.where(mask.missing, np.uint8(255), np.uint8(0))[..., None], 3, axis=2)
        panels = np.concatenate([photo.pixels, drawn, filled.pixels], axis=1)
        filled = Photo(panels, None, photo.format, photo.metadata, encoding=photo.encoding)
    kind = target(filled, options.format, job.out.suffix)
    content = encode(filled, kind, options.quality, options.keep_exif)
    if job.out == STANDARD:
        sys.stdout.buffer.write(content)
    else:
        with atomic_write(job.out) as file:
            file.write(content)
    return report | {"warnings": [*report["warnings"], *lost(filled, kind, options.keep_exif)]}


def _read(job: Job, hole_is: HoleIs) -> tuple[Photo, UserMask]:
    photo = read_photo(sys.stdin.buffer.read() if job.image == STANDARD else job.image, MAX_MEGAPIXELS)
    return photo, mask_of(photo, job.hole, hole_is, MAX_MEGAPIXELS)


def check(jobs: list[Job], options: Options) -> Iterator[dict[str, Any]]:
    """Check photos and masks without filling anything; yield a record of each."""
    for job in jobs:
        names = {"image": printable_name(job.image), "hole": printable_name(job.hole)}
        try:
            photo, mask = _read(job, options.hole_is)
        except (InpaintError, OSError) as error:
            yield names | {"status": "failed", "error": _message(error)}
            continue
        h, w = photo.pixels.shape[:2]
        edge = edges.warning(photo.pixels, mask.missing)
        yield names | {
            "status": "done",
            "size": [w, h],
            "hole_share": round(float(mask.missing.mean()), 6),
            "hole_from": mask.source,
            "warnings": [*photo.notes, *mask.warnings, *([edge] if edge else [])],
        }


def restored(folder: Path, boxes: dict[str, Boxes], inpainter: Inpainter) -> Iterator[tuple[str, Boxes, Pixels]]:
    """Fill the boxes of the challenge's pictures; yield name, boxes and filled picture for `write_submission`.

    Raises:
        InputError: a picture cannot be used, so the table would be incomplete.
    """
    for name, corners in boxes.items():
        pixels = read_photo(inside(folder, name), MAX_MEGAPIXELS).pixels
        missing = hole_of(corners, (pixels.shape[0], pixels.shape[1]), name).astype(bool)
        yield name, corners, inpainter(pixels, missing, Settings())[0]


def summary(records: list[dict[str, Any]], found: Plan, inpainter: Inpainter, options: Options) -> dict[str, Any]:
    """Return the content of `--report`."""
    counts = {status: sum(record["status"] == status for record in records) for status in ("done", "skipped", "failed")}
    left_out = [printable_name(path) for path in found.left_out]
    return {
        "model": asdict(inpainter.about),
        "options": asdict(options),
        "counts": counts | {"left_out": len(left_out)},
        "files": records,
        "left_out": left_out,
    }
