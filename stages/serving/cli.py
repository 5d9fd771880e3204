"""The command `inpaint`: its subcommands, among them those that serve models and maintain a project.

    inpaint run photo.jpg mask.png -o filled.jpg
    inpaint run photos/ masks/ -o filled/ --resume
    inpaint serve

Exit codes: 0 success; 1 some photos failed; 2 nothing was done, and the message says why; 130 interrupted.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from stages.runtime.errors import InpaintError, InputError, os_reason
from stages.serving import fill_commands, registered
from stages.serving.fill_commands import Device
from stages.serving.registered import DEFAULT_MODEL

app = typer.Typer(
    rich_markup_mode=None,  # its import takes as long as all the rest of --help
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Fill holes in photographs.",
)
app.command()(fill_commands.run)
app.command()(fill_commands.check)
app.command()(fill_commands.challenge)
app.add_typer(registered.app, name="model")


@app.command()
def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(help="As for run, repeatable; default: every champion and every classical method."),
    ] = None,
    host: Annotated[str, typer.Option(help="0.0.0.0 accepts connections from other machines.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A host name by which clients may address this machine.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Another origin whose pages may use the server, such as https://example.org (CORS)."),
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="A file with the API key that requests must send; see docs/filling.md.")
    ] = None,
    root_path: Annotated[str, typer.Option(help="Path under which a proxy serves it, such as /inpaint.")] = "",
    max_megabytes: Annotated[int, typer.Option(min=1, help="Limit for one request.")] = 64,
    max_megapixels: Annotated[float, typer.Option(min=0.01, max=178, help="Limit for one photo.")] = 64,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Limit for one answer, including the wait.")] = 60,
    queue: Annotated[int, typer.Option(min=1, help="Requests that may wait.")] = 8,
    connections: Annotated[int, typer.Option(min=1, help="Simultaneous connections.")] = 200,
    max_memory_gb: Annotated[
        float, typer.Option(min=0, help="Limit for the worker process; 0: three quarters of the memory.")
    ] = 0,
    poll_s: Annotated[float, typer.Option(min=0.1, help="Seconds between polls of the registry.")] = 30,
    device: Device = None,
) -> None:
    """Serve models over HTTP, with a page for painting masks."""
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
        reason = os_reason(error) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"the API key file {path} cannot be read: {reason}") from None
    if not key:
        raise InputError(
            f"the API key file {path} is empty; write a key into it, for instance from openssl rand -hex 32"
        )
    return key


@app.command()
def retrain(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done.")] = False,
    commit: Annotated[bool, typer.Option("--commit", help="Commit dvc.lock when the outputs changed.")] = False,
    branch: Annotated[str, typer.Option(help="Commit to this branch instead, and push it, for a pull request.")] = "",
    result: Annotated[
        Path | None, typer.Option(help="Write the result to this file, as JSON; exit 0 if all is well.")
    ] = None,
    notify: Annotated[
        str,
        typer.Option(envvar="INPAINT_NOTIFY", help="Post the result to this webhook URL (Slack, Teams or another)."),
    ] = "",
) -> None:
    """Import new photographs, retrain, and promote better models; for a scheduler, in the project's root."""
    registered.versions()  # says what to install
    from stages.retrain.__main__ import run
    from stages.retrain.call import Options

    raise typer.Exit(run(Options(dry_run, commit, branch, result, notify)))


@app.command()
def tidy(
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", min=0, help="Keep everything younger than this many days. Without it, only list."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete what is listed, for good.")] = False,
    project: Annotated[list[Path] | None, typer.Option(help="Another project that uses the same DVC cache.")] = None,
) -> None:
    """List old models, runs and data that nothing needs, and delete them with --yes; in the project's root."""
    registered.versions()  # says what to install
    from stages.retrain import housekeeping

    if yes and older_than is None:
        raise InputError("--yes deletes, so say with --older-than how many days to keep, such as --older-than 90")
    for line in housekeeping.tidy(older_than, yes, project or []):
        typer.echo(line)


@app.command()
def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="Repair what can be repaired; refused while anything runs.")
    ] = False,
) -> None:
    """Find what a crash, a kill or a move left behind, and repair it with --fix; in the project's root."""
    registered.versions()  # says what to install
    from stages.retrain.doctor import examine, repair

    for finding in repair(Path()) if fix else []:
        typer.echo(f"repaired: {finding.what}")
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

    found = registered.versions().registered() if store.is_begun() else []
    names = [f"models:/{version.name}@champion" for version in found if "champion" in version.aliases]
    trained = sorted(names, key=lambda name: name != DEFAULT_MODEL) or list(filter(None, [base_instead()]))
    if not trained:
        raise InputError("no champions are registered: run dvc repro, or name a model, such as --model telea")
    return [*trained, *CLASSICAL]


def main() -> None:
    """Run the command; an error that the user can fix ends in a message."""
    try:
        app()
    except InpaintError as error:
        typer.echo(f"inpaint: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"inpaint: {where}{error.strerror or error}; give access to it, or use another path", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
