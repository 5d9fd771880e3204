"""What a stage imports is what dvc.yaml lists: no more, or it runs for nothing; no less, or it goes stale."""

import re
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path

import grimp
import pytest
import yaml
from dvc.repo import Repo
from dvc.stage import PipelineStage

from tests.clone import ROOT


def pipeline() -> dict[str, PipelineStage]:
    with Repo(str(ROOT)) as repo:
        return {stage.name: stage for stage in repo.index.stages if isinstance(stage, PipelineStage)}


STAGES = pipeline()
LOGGED = {  # publish hands these files to MLflow, it does not import them
    Path("stages/inpainting/cropping"),
    Path("stages/serving/logged_model.py"),
}
GRAPH = grimp.build_graph("stages")
MODELS = yaml.safe_load((ROOT / "params.yaml").read_text())["models"]


def entry_module(stage: PipelineStage) -> str:
    name = stage.cmd.split()[2]  # python -m MODULE ...
    return f"{name}.__main__" if (ROOT / name.replace(".", "/")).is_dir() else name


def files_of(modules: set[str]) -> Iterator[Path]:
    for module in modules:
        path = Path(module.replace(".", "/"))
        if not (ROOT / path).is_dir():  # a package's __init__ holds a docstring only
            yield path.with_suffix(".py")


def imported(stage: PipelineStage) -> set[Path]:
    entries = {entry_module(stage)}
    if stage.name.startswith("train@"):  # which imports its family's module by name
        key = stage.name.partition("@")[2]
        entries.add(f"stages.{MODELS[key]['code']}.module")
    return set(files_of(entries.union(*(GRAPH.find_upstream_modules(entry) for entry in entries))))


def code_deps(stage: PipelineStage) -> set[Path]:
    code = {Path(dep.def_path) for dep in stage.deps if dep.def_path and dep.def_path.startswith("stages")}
    return code - LOGGED if stage.name == "publish" else code


@pytest.mark.parametrize("name", STAGES)
def test_every_import_is_a_dependency(name: str) -> None:
    # `filled_by` makes a method depend on what fills its holes, so the others' code is not its dependency.
    family = [stage for stage in STAGES.values() if stage.name.partition("@")[0] == name.partition("@")[0]]
    deps = (
        set().union(*(code_deps(stage) for stage in family))
        if name.startswith("evaluate@")
        else code_deps(STAGES[name])
    )
    unlisted = {path for path in imported(STAGES[name]) if path not in deps and not deps & set(path.parents)}
    assert not unlisted, f"{name} imports these, but dvc.yaml does not list them"


@pytest.mark.parametrize("name", STAGES)
def test_every_dependency_on_code_is_imported(name: str) -> None:
    used = imported(STAGES[name])
    idle = {dep for dep in code_deps(STAGES[name]) if dep not in used and not any(dep in path.parents for path in used)}
    assert not idle, f"dvc.yaml lists these for {name}, which does not import them"


def test_a_model_does_not_depend_on_the_other_models_code() -> None:
    for name in ("train@unet", "train@pconv", "train@pconv_augmented"):
        assert not any(path.is_relative_to("stages/pix2pix") for path in imported(STAGES[name]))
    assert not any(path.is_relative_to("stages/pconv") for path in imported(STAGES["train@pix2pix"]))


def test_the_drawing_in_the_docs_is_the_pipeline() -> None:
    made = {str(out): stage.name for stage in STAGES.values() for out in stage.outs}
    edges = {
        (made[path].partition("@")[0], stage.name.partition("@")[0])
        for stage in STAGES.values()
        for dep in stage.deps
        for path in made
        if f"{dep}/".startswith(f"{path}/") or f"{path}/".startswith(f"{dep}/")
    }
    text = (ROOT / "docs/pipeline.md").read_text(encoding="utf-8")
    drawn = set()
    for line in re.findall(r"^ +(\w.*-->.*)$", text.partition("```mermaid")[2].partition("```")[0], re.MULTILINE):
        for left, right in pairwise(group.split(" & ") for group in line.split(" --> ")):
            drawn |= set(product(left, right))
    assert drawn <= edges
    assert closure(drawn) == closure(edges)


def closure(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Everything that comes before what, however many steps before."""
    more = edges | {(one, last) for one, middle in edges for other, last in edges if other == middle}
    return edges if more == edges else closure(more)
