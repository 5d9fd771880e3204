"""README and docs name what there is: files, commands, modules, settings."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
import typer
import yaml

from stages.serving.cli import app
from tests.clone import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
README_WORDS = 1400


def commands(group: object, words: str = "inpaint") -> Iterator[str]:
    """Walk all commands."""
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, f"{words} {name}") if hasattr(command, "commands") else [f"{words} {name}"]


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.split()) <= README_WORDS
    assert not [page.name for page in PAGES if page.name != "README.md" and f"{page.name})" not in readme]


def test_every_command_is_documented() -> None:
    said = "".join(page.read_text() for page in PAGES)
    found = list(commands(typer.main.get_command(app)))
    assert {"inpaint run", "inpaint serve", "inpaint model promote"} <= set(found)
    assert not [command for command in found if command not in said]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_of_code_are_indented_from_their_first_line(page: Path) -> None:
    lines = page.read_text().splitlines()
    after_text = [line for before, line in pairwise(lines) if before[:1] not in ("", " ", "-", "|")]
    torn = [line for line in after_text if line.startswith("    ")]
    assert not torn


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_and_files_are_there(page: Path) -> None:
    text = page.read_text()
    modules = set(re.findall(r"python -m ((?:stages|tests)[\w.]*)", text)) - {"stages.evaluate.METHOD"}
    assert not [module for module in modules if find_spec(module.rstrip(".")) is None]
    paths = re.findall(r"`((?:stages|tests|profiles|schedules)/[\w/.]+)`", text)
    assert not [path for path in paths if not (ROOT / path).exists() and "NAME" not in path]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_are_those_of_params_yaml(page: Path) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["train"]["KEY"] = params["train"]["pconv"] | params["train"]["pix2pix"]
    sections = "prepare|masks|augment|train|pairs|photographs|evaluate|publish|retrain"
    for name in re.findall(rf"`((?:{sections})\.(?!csv)[\w.]+)`", page.read_text()):
        here = params
        for part in name.split("."):
            assert part in here, f"{page.name}: {name}"
            here = here[part]
