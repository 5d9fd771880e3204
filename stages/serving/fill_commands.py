"""The commands that fill photos: `inpaint run`, `inpaint check` and `inpaint challenge`."""

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from stages.runtime.errors import InputError
from stages.serving.registered import DEFAULT_MODEL

Images = Annotated[
    list[Path],
    typer.Argument(metavar="PHOTO...", help="Photos, folders (searched recursively), or - for standard input."),
]
Hole = Annotated[
    str,
    typer.Argument(
        metavar="MASK",
        help="A mask picture for all photos, a folder of mask pictures named like the photos (a.png or a_mask.png for "
        "a.jpg), `alpha` (the transparent pixels of the photo), or boxes 'left,top,right,bottom ...' in pixels.",
    ),
]
Model = Annotated[
    str,
    typer.Option(
        envvar="INPAINT_MODEL", help="models:/NAME@ALIAS, a folder, .pt2, .onnx, or a classical method such as telea."
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 or mps; default: a GPU if the machine has one.")]
White = Annotated[
    Literal["white", "black"],
    typer.Option(
        "--hole-is",
        "--mask-is",
        help="The mask colour that means missing; in pictures with transparency, opaque counts as white.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]


def run(
    images: Images,
    hole: Hole,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A file for one photo, a folder for several, or - for standard output.")
    ],
    model: Model = DEFAULT_MODEL,
    hole_is: White = "white",
    grow: Annotated[int, typer.Option(min=0, max=64, help="Pixels by which to widen holes.")] = 0,
    feather: Annotated[int, typer.Option(min=0, max=64, help="Width in pixels of the blend into the photo.")] = 0,
    context: Annotated[
        float, typer.Option(min=0, max=8, help="Margin that the model sees, as a share of the hole's size.")
    ] = 0.5,
    max_side: Annotated[int, typer.Option(help="Side of the largest crop in pixels; 0: chosen for the model.")] = 0,
    detail: Annotated[
        bool | None,
        typer.Option(
            "--detail/--no-detail", help="Copy texture from the photo into holes; default: with trained models."
        ),
    ] = None,
    format_: Annotated[
        Literal["keep", "png", "jpg"], typer.Option("--format", help="Format of the results; keep: that of each photo.")
    ] = "keep",
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, help="JPEG quality; default: that of the photo.")
    ] = None,
    keep_exif: Annotated[
        bool, typer.Option(help="Keep camera, time, place and comments, which may be private.")
    ] = False,
    concat: Annotated[bool, typer.Option(help="Write before | hole | after side by side.")] = False,
    resume: Annotated[bool, typer.Option(help="Skip photos whose result exists.")] = False,
    on_error: Annotated[
        Literal["skip", "stop"], typer.Option(help="Whether to continue after a photo that cannot be used.")
    ] = "skip",
    report: Annotated[Path | None, typer.Option(help="Write the outcome of each photo to this file, as JSON.")] = None,
    watch: Annotated[bool, typer.Option(help="Keep filling photos that arrive in the folders, until Ctrl-C.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes; each loads the model.")] = 1,
    as_json: AsJson = False,
    device: Device = None,
) -> None:
    """Fill the holes of photos, or of every photo in a folder."""
    from stages.inpainting.cropping import Settings
    from stages.runtime.files import write_json
    from stages.serving import batch
    from stages.serving.models import open_inpainter
    from stages.serving.plan import STANDARD, plan

    if (as_json and out == STANDARD) or (watch and workers > 1):
        raise InputError(
            "--json and --out - both write to standard output; use one of them"
            if as_json
            else "--watch works with one worker only"
        )
    try:
        settings = Settings(grow, feather, context, max_side, detail)
    except ValueError as error:
        raise InputError(str(error)) from None
    options = batch.Options(hole_is, settings, format_, quality, keep_exif, concat, resume)
    found = plan(images, hole, out, options.format)
    _print_left_out(found.left_out)
    if not found.jobs and not watch:
        raise InputError(f"no photos in {', '.join(map(str, images))}")
    _check_report(report)
    inpainter = open_inpainter(model, device)
    if workers > 1:
        filled = batch.fill_by_workers(found.jobs, model, device, options, workers)
    else:
        jobs = batch.arriving(lambda: plan(images, hole, out, options.format)) if watch else found.jobs
        filled = batch.fill(jobs, inpainter, options)
    records, printed = [], set[str]()
    try:
        with suppress(KeyboardInterrupt) if watch else nullcontext():  # watching has no other end
            for record in _with_progress(filled, 1 if watch else len(found.jobs)):
                records.append(record)
                _print_warnings(record, printed, with_results=watch and not as_json)
                if record["status"] == "failed" and on_error == "stop":
                    break
    finally:
        summary = batch.summary(records, found, inpainter, options)
        if report is not None:
            write_json(report, summary)
    _finish(summary, as_json, _summary_line(summary, out), to_stderr=out == STANDARD)


def check(images: Images, hole: Hole, hole_is: White = "white", as_json: AsJson = False) -> None:
    """Check photos and masks without filling anything: sizes, missing share, warnings."""
    from stages.serving import batch
    from stages.serving.plan import plan

    found = plan(images, hole, None, "keep")
    _print_left_out(found.left_out)
    if not found.jobs:
        raise InputError(f"no photos in {', '.join(map(str, images))}")
    records = list(batch.check(found.jobs, batch.Options(hole_is)))
    for record in records:
        if record["status"] == "done" and not as_json:
            w, h = record["size"]
            typer.echo(
                f"{record['image']}: {w} x {h} pixels, {record['hole_share']:.2%} missing, by {record['hole_from']}"
            )
        _print_warnings(record, set())
    counts = {status: sum(record["status"] == status for record in records) for status in ("done", "failed")}
    _finish({"counts": counts | {"left_out": len(found.left_out)}, "files": records}, as_json, "")


def challenge(
    pictures: Annotated[Path, typer.Argument(help="The folder of the challenge's pictures.")],
    info: Annotated[Path, typer.Argument(help="Its masked_info.csv: where the boxes of each picture are.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The table of restored pixels.")] = Path("submission.csv"),
    model: Model = DEFAULT_MODEL,
    device: Device = None,
) -> None:
    """Fill the boxes of the image-reconstruction challenge and write its submission.csv."""
    from stages.inpainting.challenge import read_boxes, write_submission
    from stages.serving.batch import restored
    from stages.serving.models import open_inpainter

    boxes = read_boxes(info)
    lines = write_submission(out, restored(pictures, boxes, open_inpainter(model, device)))
    typer.echo(f"{out}: {lines} lines, {len(boxes)} pictures")


def _check_report(path: Path | None) -> None:
    """Refuse a path that cannot be written, before the work rather than after it."""
    from stages.runtime.files import write_json

    try:
        if path is not None:
            write_json(path, {})
    except OSError as error:
        raise InputError(f"the report cannot be written to {path}: {error.strerror}; use another path") from None


def _with_progress(records: Iterator[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
    if total == 1 or not sys.stderr.isatty():
        yield from records
        return
    with typer.progressbar(
        records, length=total, label="filling", show_eta=True, show_pos=True, file=sys.stderr
    ) as bar:
        yield from bar


def _summary_line(summary: dict[str, Any], out: Path) -> str:
    """Summarize the run: counts, output, model, scale, and whether texture was copied."""
    from stages.imaging.images import printable_name

    done = [record for record in summary["files"] if record["status"] == "done"]
    parts = [f"{n} {status.replace('_', ' ')}" for status, n in summary["counts"].items() if n and status != "done"]
    if not done:
        return ", ".join(parts)
    scales = sorted({record["scale"] for record in done})
    how = "at full size" if scales == [1] else f"at scale {scales[0]:g}" + (f" to {scales[-1]:g}" if scales[1:] else "")
    if textured := sum(record["detail"] for record in done):
        how += ", with copied texture" if textured == len(done) else f", {textured} of them with copied texture"
    place = f": {done[0]['out']}" if len(done) == 1 else f" in {printable_name(out)}"
    by = " ".join(each for each in (summary["model"]["name"], summary["model"]["version"]) if each)
    return ", ".join([f"{len(done)} done{place} by {by} ({how})", *parts])


def _print_left_out(paths: list[Path]) -> None:
    from stages.imaging.images import printable_name

    if paths:
        names = ", ".join(printable_name(path) for path in paths[:5]) + (", ..." if paths[5:] else "")
        typer.echo(f"left out, as masks or by names that are not those of photos: {names}", err=True)


def _print_warnings(record: dict[str, Any], printed: set[str], with_results: bool = False) -> None:
    """Print the warnings and the error of a photo, problems of the machine only once, and where its result is."""
    from stages.inpainting.cropping import detail

    for warning in [*record.get("warnings", ()), *record.get("notes", ())]:
        is_of_machine = bool(detail.problem()) and warning.endswith(detail.problem())
        if not is_of_machine:
            typer.echo(f"{record['image']}: {warning}", err=True)
        elif warning not in printed:
            printed.add(warning)
            typer.echo(warning, err=True)
    if record["status"] == "failed":
        error = record["error"]
        typer.echo(error if error.startswith(record["image"]) else f"{record['image']}: {error}", err=True)
    elif with_results:
        typer.echo(f"{record['image']}: filled, {record['out']}")


def _finish(summary: dict[str, Any], as_json: bool, sentence: str, to_stderr: bool = False) -> None:
    """Print the summary; exit with 1 if a part failed or a photo was nearly all missing, with 2 if all failed."""
    if as_json:
        typer.echo(json.dumps(summary, indent=2, ensure_ascii=False))
    elif sentence:
        typer.echo(sentence, err=to_stderr)
    counts = summary["counts"]
    if counts["failed"]:
        raise typer.Exit(1 if counts["done"] + counts.get("skipped", 0) else 2)
    if any(record.get("is_nearly_all") for record in summary["files"]):
        raise typer.Exit(1)
