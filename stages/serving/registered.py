"""`inpaint model`: what the registry holds, and which version is used."""

import json
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from stages.running.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Registered models: list, show, promote.")
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
def promote(model: Annotated[str, typer.Argument(help="models:/NAME/VERSION or models:/NAME@challenger.")]) -> None:
    """Make a version the champion of its model: what is used where no version is named."""
    known = versions()
    version = known.resolve(model)
    before, new = known.promote(version.name, version.number)
    was = f"; it was version {before.number}" if before else ""
    typer.echo(f"version {new.number} is the champion of {new.name}{was}")


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
