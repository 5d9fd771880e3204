"""`inpaint model`: what the registry holds, and which version is used."""

import json
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from stages.runtime.errors import InputError

DEFAULT_MODEL = "models:/inpaint-pconv@champion"

app = typer.Typer(no_args_is_help=True, help="Registered models: which there are, and which is used.")
Name = Annotated[str, typer.Argument(help="Of a registered model, such as inpaint-pconv.")]
Why = Annotated[str, typer.Option(help="For the ledger.")]
By = Annotated[str, typer.Option(help="Who decides, for the ledger; by default who is logged in.")]
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
    """Show what a registered model is."""
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
    """Make a version the champion of its model: what is used where no version is named."""
    version = versions().resolve(model)
    if version.tags.get("gate.decision") == "kept":
        typer.echo(f"the gate kept version {version.number} out: {version.tags.get('gate.reason', '')}", err=True)
    before, new = aliases().promote(version.name, version.number, why)
    was = f"; it was version {before.number}" if before else ""
    typer.echo(f"version {new.number} is the champion of {new.name}{was}")


@app.command()
def approve(name: Name, why: Why = "approved", by: By = "") -> None:
    """Make the candidate, which passed the gate and waits, the champion of its model."""
    waiting = aliases().candidate(name)
    before, new = aliases().promote(name, waiting.number, f"{_who(by)}: {why}")
    was = f"; it was version {before.number}" if before else ""
    typer.echo(f"version {new.number} is the champion of {name}{was}")


@app.command()
def reject(name: Name, why: Why = "rejected", by: By = "") -> None:
    """Keep the candidate, which passed the gate and waits, out for good."""
    version = aliases().reject(name, f"{_who(by)}: {why}")
    typer.echo(f"version {version.number} of {name} is under a veto, and the champion stays")


def _who(by: str) -> str:
    from getpass import getuser

    return by or getuser()


@app.command()
def rollback(name: Name, why: Why = "rolled back by hand") -> None:
    """Return to the champion before, and keep the one that is left out of every later gate."""
    left, now = aliases().rollback(name, why)
    typer.echo(f"version {now.number} is the champion of {name} again; version {left.number} is under a veto")


@app.command("lift-veto")
def lift_veto(model: Annotated[str, typer.Argument(help="models:/NAME/VERSION.")]) -> None:
    """Let gates consider a version again that was rolled back."""
    version = versions().resolve(model)
    said = aliases().lift_veto(version.name, version.number)
    typer.echo(f"version {version.number} of {version.name} may be promoted again; the veto was: {said}")


@app.command()
def rebuild(model: Annotated[str, typer.Argument(help="models:/NAME@ALIAS or models:/NAME/VERSION.")]) -> None:
    """Train a version again from what its tags say, in the project's root, and compare the weights."""
    version = versions().resolve(model)
    from stages.retrain.rebuild import rebuild

    made = rebuild(version)
    if made.is_equal:
        typer.echo(f"equal: version {version.number} of {version.name}, made again, has the sha256 {made.digest}")
        return
    typer.echo(
        f"not equal: version {version.number} of {version.name} has the sha256 {version.digest}, made again "
        f"{made.digest}; answers differ by up to {made.farthest:.2g} of 1. Its run names the machine and the packages "
        "of then: another kind of processor, a GPU or another torch adds numbers up in another order."
    )
    raise typer.Exit(1)


@app.command("serve-check")
def serve_check(
    model: Annotated[str, typer.Argument(help="models:/NAME@ALIAS or models:/NAME/VERSION.")] = DEFAULT_MODEL,
) -> None:
    """Serve a version by MLflow's own server, ask it for one picture, and compare that with the library's own."""
    version = versions().resolve(model)
    from stages.serving.served_check import check

    differing = check(version)
    said = f"version {version.number} of {version.name}, served by MLflow without pickle, answers"
    if differing:
        typer.echo(f"{said} otherwise than the library: by up to {differing} of 255")
        raise typer.Exit(1)
    typer.echo(f"{said} with the same pixels as the library")


@app.command()
def ledger(name: Annotated[str, typer.Argument(help="Of a registered model; all, if not said.")] = "") -> None:
    """List which versions became champion or were rejected, when, by whom and why."""
    for move in aliases().ledger(name):
        rejected = "rejected: " if move.is_rejection else ""
        typer.echo(f"{move.at}  {move.name:28} {move.number:>4}  {rejected}{move.why}")


@app.command()
def webhook(
    url: Annotated[str, typer.Argument(envvar="INPAINT_WEBHOOK", help="Of a program that takes MLflow's JSON.")],
    secret: Annotated[str, typer.Option(envvar="INPAINT_WEBHOOK_SECRET", help="Signs what is sent.")] = "",
) -> None:
    """Have the MLflow server post every new version and every alias change to a URL."""
    versions()
    from stages.tracking import webhooks

    if wrong := webhooks.set_up(url, secret):
        typer.echo(f"the webhook is set up, but its first message failed: {wrong}", err=True)
        raise typer.Exit(1)
    typer.echo("the webhook is set up, and its first message was accepted")


def aliases() -> Any:
    """Return the module that moves aliases; the rest as `versions`."""
    versions()
    from stages.tracking import aliases

    return aliases


def versions() -> Any:
    """Return the module that knows the registry, if it is installed here.

    Raises:
        InputError: it is not.
    """
    if find_spec("mlflow") is None:
        raise InputError(
            "the registry needs MLflow, which is not installed: pip install 'image-reconstruction[pipeline]'; "
            "or say --model with a model.onnx, telea or biharmonic"
        )
    from stages.tracking import versions

    return versions
