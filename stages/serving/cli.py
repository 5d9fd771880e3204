"""The command `inpaint`: parses, calls, prints; the work is done by `batch`, `app` and the one `Inpainter`.

    inpaint run photo.jpg mask.png -o filled.jpg
    inpaint run photos/ masks/ -o filled/ --resume
    inpaint serve

Exit codes: 0 done; 1 some photos could not be used; 2 nothing could be done, and the message says why; 130 interrupted.
"""

import json
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from stages.runtime.errors import InpaintError, InputError
from stages.serving import registered
from stages.serving.registered import DEFAULT_MODEL

app = typer.Typer(
    rich_markup_mode=None,  # its import takes as long as all the rest of --help
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Fill holes in photographs.",
)
app.add_typer(registered.app, name="model")


class HoleIs(StrEnum):
    """The colour that means "missing"."""

    WHITE = "white"
    BLACK = "black"


class Kept(StrEnum):
    """The format of results."""

    KEEP = "keep"
    PNG = "png"
    JPG = "jpg"


class OnError(StrEnum):
    """What follows a photo that cannot be used."""

    SKIP = "skip"
    STOP = "stop"


Images = Annotated[
    list[Path],
    typer.Argument(metavar="PHOTO...", help="Photos, folders that are searched in depth, or -: standard input."),
]
Hole = Annotated[
    str,
    typer.Argument(
        metavar="MASK",
        help="A picture of the hole for all photos, a folder of pictures named like the photos (a.png or a_mask.png "
        "for a.jpg), `alpha` (what is transparent in the photo), or boxes 'left,top,right,bottom ...' in pixels.",
    ),
]
Model = Annotated[
    str, typer.Option(envvar="INPAINT_MODEL", help="models:/NAME@ALIAS, a folder, .pt2, .onnx, telea or biharmonic.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 or mps; by default what the machine has.")]
White = Annotated[
    HoleIs,
    typer.Option("--hole-is", "--mask-is", help="The colour that means missing; on layers, opaque counts as white."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]


@app.command()
def run(
    images: Images,
    hole: Hole,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A file for one photo, a folder for many, or -: standard output.")
    ],
    model: Model = DEFAULT_MODEL,
    hole_is: White = HoleIs.WHITE,
    grow: Annotated[int, typer.Option(min=0, max=64, help="Pixels by which holes are widened.")] = 0,
    feather: Annotated[int, typer.Option(min=0, max=64, help="Pixels over which the answer fades into the photo.")] = 0,
    context: Annotated[
        float, typer.Option(min=0, max=8, help="Share of the hole around it that the model sees.")
    ] = 0.5,
    max_side: Annotated[int, typer.Option(help="The largest crop filled at once; 0: what suits the model.")] = 0,
    detail: Annotated[
        bool | None,
        typer.Option(
            "--detail/--no-detail", help="Copy the photo's own texture into holes; by default with trained models."
        ),
    ] = None,
    format_: Annotated[Kept, typer.Option("--format", help="Of the results; keep: that of each photo.")] = Kept.KEEP,
    quality: Annotated[int | None, typer.Option(min=1, max=100, help="Of JPEG; by default as the photo's own.")] = None,
    keep_exif: Annotated[bool, typer.Option(help="Keep camera, time, place and comments, which are private.")] = False,
    concat: Annotated[bool, typer.Option(help="Write before | hole | after side by side instead.")] = False,
    resume: Annotated[bool, typer.Option(help="Leave results that are there.")] = False,
    on_error: Annotated[OnError, typer.Option(help="What follows a photo that cannot be used.")] = OnError.SKIP,
    report: Annotated[Path | None, typer.Option(help="Write what became of each photo to this file, JSON.")] = None,
    watch: Annotated[bool, typer.Option(help="Go on with photos that come into the folders, until Ctrl-C.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with the model in its memory.")] = 1,
    as_json: AsJson = False,
    device: Device = None,
) -> None:
    """Fill the holes of photos, or of every photo of a folder."""
    from stages.inpainting.cropping import Settings
    from stages.runtime.files import write_json
    from stages.serving import batch
    from stages.serving.models import open_inpainter
    from stages.serving.plan import STANDARD, plan

    if (as_json and out == STANDARD) or (watch and workers > 1):
        raise InputError(
            "--json and --out - both want standard output; say one" if as_json else "--watch has one worker"
        )
    settings = _checked(Settings, grow=grow, feather=feather, context=context, max_side=max_side, detail=detail)
    options = batch.Options(hole_is.value, settings, format_.value, quality, keep_exif, concat, resume)
    found = plan(images, hole, out, options.format)
    _say_left_out(found.left_out)
    if not found.jobs and not watch:
        raise InputError(f"no photos in {', '.join(map(str, images))}")
    _check_report(report)
    inpainter = open_inpainter(model, device)
    if workers > 1:
        filled = batch.fill_by_workers(found.jobs, model, device, options, workers)
    else:
        jobs = batch.arriving(lambda: plan(images, hole, out, options.format)) if watch else found.jobs
        filled = batch.fill(jobs, inpainter, options)
    records, told = [], set[str]()
    try:
        for record in _with_progress(filled, 1 if watch else len(found.jobs)):
            records.append(record)
            _warn(record, told)
            if record["status"] == "failed" and on_error is OnError.STOP:
                break
    finally:
        summary = batch.summary(records, found, inpainter, options)
        if report is not None:
            write_json(report, summary)
    _end(summary, as_json, _sentence(summary, out), to_stderr=out == STANDARD)


@app.command()
def check(images: Images, hole: Hole, hole_is: White = HoleIs.WHITE, as_json: AsJson = False) -> None:
    """Look at photos and masks without filling anything: sizes, share that is missing, what looks wrong."""
    from stages.serving import batch
    from stages.serving.plan import plan

    found = plan(images, hole, Path("nowhere"), "keep")
    _say_left_out(found.left_out)
    if not found.jobs:
        raise InputError(f"no photos in {', '.join(map(str, images))}")
    records = list(batch.check(found.jobs, batch.Options(hole_is.value)))
    for record in records:
        if record["status"] == "done" and not as_json:
            w, h = record["size"]
            typer.echo(
                f"{record['image']}: {w} x {h} pixels, {record['hole_share']:.2%} missing, by {record['hole_from']}"
            )
        _warn(record, set())
    counts = {status: sum(record["status"] == status for record in records) for status in ("done", "failed")}
    _end({"counts": counts | {"left_out": len(found.left_out)}, "files": records}, as_json, "")


@app.command()
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


@app.command()
def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(help="As for run, as often as wanted; by default every champion and every classical method."),
    ] = None,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    allow_host: Annotated[list[str] | None, typer.Option(help="A name by which this machine may be called.")] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="A page elsewhere that may ask, such as https://example.org (CORS).")
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="A file with a key that every request has to send; see docs/filling.md.")
    ] = None,
    root_path: Annotated[str, typer.Option(help="Where a proxy has put the server, such as /inpaint.")] = "",
    max_megabytes: Annotated[int, typer.Option(min=1, help="Of one request.")] = 64,
    max_megapixels: Annotated[float, typer.Option(min=0.01, max=178, help="Of one photo.")] = 64,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="For one answer, waiting included.")] = 60,
    queue: Annotated[int, typer.Option(min=1, help="Requests that may wait.")] = 8,
    connections: Annotated[int, typer.Option(min=1, help="At a time.")] = 200,
    max_memory_gb: Annotated[
        float, typer.Option(min=0, help="Of the process that fills; 0: three quarters of what there is.")
    ] = 0,
    poll_s: Annotated[float, typer.Option(min=0.1, help="Between looks at the registry.")] = 30,
    device: Device = None,
) -> None:
    """Answer over HTTP, with a page where one paints the hole."""
    from stages.serving import app as http
    from stages.serving import limits as bounds
    from stages.serving.model_manager import ModelManager
    from stages.serving.request_guard import Access

    memory = max_memory_gb * 1e9 or bounds.share_of_memory()
    limits = bounds.Limits(max_megabytes * 1_000_000, max_megapixels, timeout_s, queue, int(memory), connections)
    access = Access(allow_host or [], _key(api_key_file), allow_origin or [])
    served = ModelManager(model or _all_models(), device, poll_s, limits)
    http.serve(served, limits, access, host, port, root_path.rstrip("/"))


def _key(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise InputError(f"the key's file {path} cannot be read: {error}") from None
    if not key:
        raise InputError(f"the key's file {path} is empty; write a key into it, such as openssl rand -hex 32 makes")
    return key


@app.command()
def retrain(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    commit: Annotated[bool, typer.Option("--commit", help="Commit dvc.lock when the outputs changed.")] = False,
    branch: Annotated[str, typer.Option(help="Commit to this branch instead, and push it, for a pull request.")] = "",
    result: Annotated[
        Path | None, typer.Option(help="Write what came of it to this file, JSON; exit 0 if all is well.")
    ] = None,
    notify: Annotated[
        str, typer.Option(envvar="INPAINT_NOTIFY", help="Tell this address, of Slack, Teams or another.")
    ] = "",
) -> None:
    """Take new photographs in, train again, promote what is better: for a scheduler, in the project's root."""
    registered.versions()  # says what to install
    from stages.retrain.__main__ import Options, call

    raise typer.Exit(call(Options(dry_run, commit, branch, result, notify)))


@app.command()
def tidy(
    older_than: Annotated[
        float | None, typer.Option("--older-than", min=0, help="Days; what is younger stays. Not said: only look.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Let go of what is listed; it cannot be brought back.")] = False,
    project: Annotated[list[Path] | None, typer.Option(help="Another project that uses the same DVC cache.")] = None,
) -> None:
    """Say what old models, runs and data nothing needs, and let go of them, in the project's root."""
    registered.versions()  # says what to install
    from stages.retrain import housekeeping

    if yes and older_than is None:
        raise InputError("--yes deletes, so --older-than has to say how many days are kept, such as --older-than 90")
    for line in housekeeping.tidy(older_than, yes, project or []):
        typer.echo(line)


@app.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended; refused while anything runs.")] = False,
) -> None:
    """Say what a crash, a kill or a move left behind, and mend it with --fix, in the project's root."""
    registered.versions()  # says what to install
    from stages.retrain.doctor import cure, examine

    for finding in cure(Path()) if fix else []:
        typer.echo(f"mended: {finding.what}")
    left = examine(Path())
    for finding in left:
        typer.echo(str(finding))
    if not left:
        typer.echo("all is well")
    if any(finding.clear or finding.advice for finding in left):
        raise typer.Exit(1)


def _all_models() -> list[str]:
    from stages.inpainting.inpainter import CLASSICAL
    from stages.serving.models import base_instead
    from stages.tracking import store

    known = registered.versions().registered() if store.is_begun() else []
    names = [f"models:/{version.name}@champion" for version in known if "champion" in version.aliases]
    trained = sorted(names, key=lambda name: name != DEFAULT_MODEL) or list(filter(None, [base_instead()]))
    if not trained:
        raise InputError("no champions are registered: run dvc repro, or say what to serve, such as --model telea")
    return [*trained, *CLASSICAL]


def _check_report(path: Path | None) -> None:
    """Refuse a place that cannot be written to before the work, not after it."""
    from stages.runtime.files import write_json

    try:
        if path is not None:
            write_json(path, {})
    except OSError as error:
        raise InputError(f"the report cannot be written to {path}: {error.strerror}; use another path") from None


def _checked(kind: Any, **values: Any) -> Any:
    try:
        return kind(**values)
    except ValueError as error:
        raise InputError(str(error)) from None


def _with_progress(records: Iterator[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
    if total == 1 or not sys.stderr.isatty():
        yield from records
        return
    with typer.progressbar(
        records, length=total, label="filling", show_eta=True, show_pos=True, file=sys.stderr
    ) as bar:
        yield from bar


def _sentence(summary: dict[str, Any], out: Path) -> str:
    """Say what was done, where it is, by what, at what scale, and whether texture was copied."""
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


def _say_left_out(paths: list[Path]) -> None:
    from stages.imaging.images import printable_name

    if paths:
        names = ", ".join(printable_name(path) for path in paths[:5]) + (", ..." if paths[5:] else "")
        typer.echo(f"left out, for their names are not those of photos: {names}", err=True)


def _warn(record: dict[str, Any], told: set[str]) -> None:
    """Say what a person should know of a photo; what lies with the machine is in `told` from then on."""
    from stages.inpainting.cropping import detail

    for warning in [*record.get("warnings", ()), *record.get("notes", ())]:
        is_of_machine = bool(detail.problem()) and warning.endswith(detail.problem())
        if not is_of_machine:
            typer.echo(f"{record['image']}: {warning}", err=True)
        elif warning not in told:
            told.add(warning)
            typer.echo(warning, err=True)
    if record["status"] == "failed":
        error = record["error"]
        typer.echo(error if error.startswith(record["image"]) else f"{record['image']}: {error}", err=True)


def _end(summary: dict[str, Any], as_json: bool, sentence: str, to_stderr: bool = False) -> None:
    """Print what was done, and end with 1 where a part failed or hardly anything was known, with 2 where all failed."""
    if as_json:
        typer.echo(json.dumps(summary, indent=2, ensure_ascii=False))
    elif sentence:
        typer.echo(sentence, err=to_stderr)
    counts = summary["counts"]
    if counts["failed"]:
        raise typer.Exit(1 if counts["done"] + counts.get("skipped", 0) else 2)
    if any(record.get("is_nearly_all") for record in summary["files"]):
        raise typer.Exit(1)


def main() -> None:
    """Run the command; a mistake that a person can mend ends in a message."""
    try:
        app()
    except InpaintError as error:
        typer.echo(f"inpaint: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"inpaint: {where}{error.strerror or error}; give access to it, or name another place", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
