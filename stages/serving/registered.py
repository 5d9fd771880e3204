"""`inpaint model`: list registered models, and choose the version in use."""

import json
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from stages.runtime.errors import InputError

DEFAULT_MODEL = "models:/inpaint-pconv@champion"

app = typer.Typer(no_args_is_help=True, help="List registered models, and choose the version in use.")
Name = Annotated[str, typer.Argument(help="Name of a registered model, such as inpaint-pconv.")]
Why = Annotated[str, typer.Option(help="Reason, for the ledger.")]
By = Annotated[str, typer.Option(help="Who decides, for the ledger; default: the login name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List registered models and their versions."""
    from dataclasses import asdict

    found = versions().registered()
    if as_json:
        typer.echo(json.dumps([asdict(version) for version in found], indent=2))
        return
    if not found:
        raise InputError("no models are registered; dvc repro trains and registers them")
    for version in found:
        typer.echo(f"{version.name:28} {version.number:>4}  {', '.join(version.aliases):22} {version.digest[:12]}")


@app.command()
def show(model: Annotated[str, typer.Argument(help="models:/NAME@ALIAS or models:/NAME/VERSION.")]) -> None:
    """Show the description of a registered model."""
    version = versions().resolve(model)
    aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
    typer.echo(
        f"{version.name}, version {version.number}{aliases}, model.pt2 {version.digest}\n\n{version.description}"
    )


@app.command()
def promote(
    model: Annotated[str, typer.Argument(help="models:/NAME/VERSION or models:/NAME@challenger.")],
    why: Why = "promoted by hand",
) -> None:
    """Make a version the champion of its model, which is used unless a version is named."""
    version = versions().resolve(model)
    if version.tags.get("gate.decision") == "kept":
        typer.echo(f"the gate rejected version {version.number}: {version.tags.get('gate.reason', '')}", err=True)
    before, new = aliases().promote(version.name, version.number, why)
    was = f"; it was version {before.number}" if before else ""
    typer.echo(f"version {new.number} is the champion of {new.name}{was}")


@app.command()
def approve(name: Name, why: Why = "approved", by: By = "") -> None:
    """Make the candidate, which passed the gate, the champion of its model."""
    waiting = aliases().candidate(name)
    before, new = aliases().promote(name, waiting.number, f"{_who(by)}: {why}")
    was = f"; it was version {before.number}" if before else ""
    typer.echo(f"version {new.number} is the champion of {name}{was}")


@app.command()
def reject(name: Name, why: Why = "rejected", by: By = "") -> None:
    """Reject the candidate, which passed the gate, for good."""
    version = aliases().reject(name, f"{_who(by)}: {why}")
    typer.echo(f"version {version.number} of {name} is under a veto, and the champion stays")


def _who(by: str) -> str:
    from getpass import getuser

    return by or getuser()


@app.command()
def rollback(name: Name, why: Why = "rolled back by hand") -> None:
    """Return to the previous champion, and veto the present one."""
    left, now = aliases().rollback(name, why)
    typer.echo(f"version {now.number} is the champion of {name} again; version {left.number} is under a veto")


@app.command("lift-veto")
def lift_veto(model: Annotated[str, typer.Argument(help="models:/NAME/VERSION.")]) -> None:
    """Let gates consider a version that was rolled back."""
    version = versions().resolve(model)
    reason = aliases().lift_veto(version.name, version.number)
    typer.echo(f"version {version.number} of {version.name} may be promoted again; the veto was: {reason}")


@app.command()
def rebuild(model: Annotated[str, typer.Argument(help="models:/NAME@ALIAS or models:/NAME/VERSION.")]) -> None:
    """Train a version again from its tags, in the project's root, and compare the weights."""
    version = versions().resolve(model)
    from stages.retrain.rebuild import rebuild

    made = rebuild(version)
    if made.is_equal:
        typer.echo(f"equal: version {version.number} of {version.name}, trained again, has the sha256 {made.digest}")
        return
    typer.echo(
        f"not equal: version {version.number} of {version.name} has the sha256 {version.digest}, trained "
        f"again {made.digest}; predictions differ by up to {made.farthest:.2g} of 1. Its run names the machine and the "
        "packages: another kind of processor, a GPU or another torch version adds in another order."
    )
    raise typer.Exit(1)


@app.command("serve-check")
def serve_check(
    model: Annotated[str, typer.Argument(help="models:/NAME@ALIAS or models:/NAME/VERSION.")] = DEFAULT_MODEL,
) -> None:
    """Serve a version with MLflow's own server, and compare one answer with this library's."""
    version = versions().resolve(model)
    from stages.tracking.served_check import check

    differing = check(version)
    served = f"version {version.number} of {version.name}, served by MLflow without pickle,"
    if differing:
        typer.echo(f"{served} differs from the library by up to {differing} of 255")
        raise typer.Exit(1)
    typer.echo(f"{served} gives the same pixels as the library")


@app.command()
def ledger(name: Annotated[str, typer.Argument(help="Name of a registered model; default: all.")] = "") -> None:
    """List the versions that became champion or were rejected, with time, person and reason."""
    for move in aliases().ledger(name):
        rejected = "rejected: " if move.is_rejection else ""
        typer.echo(f"{move.at}  {move.name:28} {move.number:>4}  {rejected}{move.why}")


@app.command()
def webhook(
    url: Annotated[str, typer.Argument(envvar="INPAINT_WEBHOOK", help="URL that accepts MLflow's JSON.")],
    secret: Annotated[str, typer.Option(envvar="INPAINT_WEBHOOK_SECRET", help="Key that signs the messages.")] = "",
) -> None:
    """Let the MLflow server post every new version and alias change to a URL."""
    versions()
    from stages.tracking import webhooks

    if wrong := webhooks.set_up(url, secret):
        typer.echo(f"the webhook is set up, but its first message failed: {wrong}", err=True)
        raise typer.Exit(1)
    typer.echo("the webhook is set up, and its first message was accepted")


def aliases() -> Any:
    """Return the module that moves aliases; errors as for `versions`."""
    versions()
    from stages.tracking import aliases

    return aliases


def versions() -> Any:
    """Return the module that reads the registry.

    Raises:
        InputError: MLflow is not installed.
    """
    if find_spec("mlflow") is None:
        raise InputError(
            "the registry needs MLflow, which is not installed: pip install 'image-reconstruction[pipeline]'; "
            "or use --model with a model.onnx, telea or biharmonic"
        )
    from stages.tracking import versions

    return versions
