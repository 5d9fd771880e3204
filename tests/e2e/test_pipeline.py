"""The whole pipeline with real DVC, MLflow and photographs, in a clone with tiny settings."""

import json
import os
import re
import shutil
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from dvc.repo import Repo

from stages.inpainting import soundness
from stages.inpainting.inpainter import load
from tests.clone import Clone
from tests.warm import COLD

pytestmark = pytest.mark.slow

TRAININGS = {"train@unet", "train@pconv", "train@pconv_augmented", "train@pix2pix"}
CLASSICAL = {f"evaluate@{name}" for name in ("mean", "patchmatch", "fsr")}  # the others run alike
EVALUATIONS = CLASSICAL | {name.replace("train", "evaluate") for name in TRAININGS}
STARTS = {name.replace("train", "start") for name in TRAININGS}
UNET_FAMILY = TRAININGS - {"train@pix2pix"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = Clone(tmp_path_factory.mktemp("clone"))
    path = clone.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["methods"] = {name: one for name, one in params["methods"].items() if f"evaluate@{name}" in EVALUATIONS}
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    clone.run("dvc", "repro", **COLD)  # as a user's, whose stages have to import all that they need
    clone.commit("dvc.lock")
    return clone


def stages_that_ran(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


def trainings(clone: Clone) -> list[tuple[str, str, str]]:
    """The runs of trainings: id, name, status."""
    with sqlite3.connect(clone.root / "mlflow.db") as database:
        return database.execute(
            "SELECT run_uuid, runs.name, status FROM runs JOIN tags USING (run_uuid)"
            " WHERE lifecycle_stage = 'active' AND tags.key = 'inpaint.record' ORDER BY run_uuid"
        ).fetchall()


def runs(clone: Clone) -> list[tuple[str, str]]:
    with sqlite3.connect(clone.root / "mlflow.db") as database:
        return database.execute(
            "SELECT name, status FROM runs WHERE lifecycle_stage = 'active' ORDER BY name"
        ).fetchall()


def versions(clone: Clone) -> list[tuple[str, int]]:
    with sqlite3.connect(clone.root / "mlflow.db") as database:
        return database.execute("SELECT name, version FROM model_versions ORDER BY name, version").fetchall()


def test_everything_is_made(clone: Clone) -> None:
    data = clone.root / "data"
    for key in ("unet", "pconv", "pconv_augmented", "pix2pix"):
        assert (data / f"models/{key}/model.pt2").stat().st_size > 0
        assert json.loads((data / f"training/{key}/record.json").read_text())["status"] == "finished"
    assert "<html" in (data / "report/index.html").read_text().lower()
    assert len(versions(clone)) == 4
    assert {status for _, status in runs(clone)} == {"FINISHED"}
    assert not list(clone.root.glob(".resume/*"))


def test_every_method_answers_the_same_pairs(clone: Clone) -> None:
    tables = [pd.read_parquet(path) for path in sorted(clone.root.glob("data/evaluation/*/scores.parquet"))]
    assert len(tables) == len(EVALUATIONS)
    tables = [table for table in tables if len(table)]  # but for those whose package is not installed
    assert len(tables) >= 5
    keys = [column for column in ("pair", "sha256", "bucket", "border") if column in tables[0]]
    assert len(keys) >= 3
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table[keys], tables[0][keys])


def test_every_method_answers_the_same_photographs(clone: Clone) -> None:
    asked = pd.read_csv(clone.root / "data/photographs/photographs.csv")
    found = {
        path.parent.name: pd.read_parquet(path) for path in clone.root.glob("data/evaluation/*/photographs.parquet")
    }
    assert len(found) == len(EVALUATIONS)
    for key, table in found.items():
        variants = [table[table["detail"] == detail] for detail in (True, False)]
        assert [len(one) for one in variants] in ([7, 7] if f"train@{key}" in TRAININGS else [0, 7], [0, 0])
        for one in filter(len, variants):
            assert one["sha256"].to_list() == asked["sha256"].to_list()
        summary = json.loads((clone.root / f"data/evaluation/{key}/summary.json").read_text())
        assert ("photo_perceptual" in summary) == ("missing" not in summary)


@pytest.mark.parametrize("key", ["unet", "pconv", "pconv_augmented", "pix2pix"])
def test_no_model_fills_worse_than_a_membrane_even_after_six_steps(clone: Clone, key: str) -> None:
    smooth = ("plain", "shaded")  # six steps teach nothing of the rest
    model = load(clone.root / f"data/models/{key}", "cpu")
    faults = soundness.find_faults(model, side=128, sizes=(30,), names=smooth)
    assert not [fault for fault in faults if soundness.CAUGHT not in fault]


def test_nothing_changes_when_it_runs_again(clone: Clone) -> None:
    before = runs(clone), versions(clone)
    start = time.monotonic()
    done = clone.run("dvc", "repro")
    seconds = time.monotonic() - start
    assert stages_that_ran(done.stdout) == {"publish"}
    assert (runs(clone), versions(clone)) == before
    assert clone.run("git", "status", "--porcelain").stdout == ""
    print(f"dvc repro with nothing to do: {seconds:.1f} s")


CHANGES = {
    "params.yaml: seed": {"prepare", "masks", "augment", "pair", "photographs"} | TRAININGS | {"report"},
    "params.yaml: tile_size": {"prepare", "masks"},
    "params.yaml: prepare.short_sides": {"prepare"},
    "params.yaml: masks.val": {"masks"},
    "params.yaml: criterion.floor_db": TRAININGS,
    "params.yaml: augment.copies": {"augment"},
    "params.yaml: train.unet.steps": {"start@unet", "train@unet"},
    "params.yaml: train.pix2pix.l1_weight": {"start@pix2pix", "train@pix2pix"},
    "params.yaml: pairs.gallery": {"pair"},
    "params.yaml: photographs.count": {"photographs"},
    "params.yaml: evaluate.worst": EVALUATIONS,
    "params.yaml: publish.strict": set(),
    "stages/pix2pix/losses.py": {"train@pix2pix"},
    "stages/pconv/losses.py": UNET_FAMILY,
    "stages/training/dataset.py": TRAININGS,
    "stages/inpainting/classical.py": CLASSICAL | {"report"},
    "stages/inpainting/exported.py": TRAININGS | EVALUATIONS | {"report"},
    "stages/augment/__main__.py": {"augment"},
    "stages/inpainting/cropping/boxes.py": EVALUATIONS | {"report"},
    "stages/inpainting/inpainter.py": EVALUATIONS | {"report"},
    "stages/pair.py": {"pair"},
    "stages/photographs.py": {"photographs"},
    "stages/comparing/bootstrap.py": {"report"},
    "stages/serving/logged_model.py": set(),
    "README.md": set(),
    "data/embedded.csv": {"prepare", "photographs"},
    "data/holes/README.md": {"masks"},
    "data/base/photographs.npy": {"prepare"},
    "data/base/pix2pix.safetensors": {"start@pix2pix"},
    "data/base/pconv.safetensors": {"start@pconv", "start@pconv_augmented"},
    "data/starts.yaml": STARTS,
    "stages/tracking/versions.py": STARTS,
}


@pytest.fixture(scope="module")
def status(clone: Clone) -> dict[str, set[str]]:
    """What DVC says after all changes at once: the dependencies that changed, stage by stage."""
    before = {name: (clone.root / name).read_bytes() for name in {change.partition(":")[0] for change in CHANGES}}
    try:
        for change in CHANGES:
            make(change, clone.root)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(clone.root)
            with Repo() as repo:
                said = repo.status()
    finally:
        for name, content in before.items():
            (clone.root / name).write_bytes(content)
    return {stage: changed_deps(reasons) for stage, reasons in said.items() if not stage.startswith("publish")}


def make(change: str, root: Path) -> None:
    name, _, key = change.partition(": ")
    path = root / name
    if not key:
        path.write_bytes(path.read_bytes() + b"\n")
        return
    params = yaml.safe_load(path.read_text())
    *sections, last = key.split(".")
    section = params
    for each in sections:
        section = section[each]
    value = section[last]
    section[last] = not value if isinstance(value, bool) else value + ([50] if isinstance(value, list) else 1)
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def changed_deps(reasons: list[Any]) -> set[str]:
    """Flatten DVC's reasons: paths, and keys of params.yaml as `CHANGES` writes them."""
    found = set()
    for name, how in next(each for each in reasons if "changed deps" in each)["changed deps"].items():
        found |= {f"{name}: {key}" for key in how} if isinstance(how, dict) else {name}
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_runs_the_stages_that_read_it_and_no_others(status: dict[str, set[str]], change: str) -> None:
    deps = set().union(*status.values())
    (inside,) = {dep for dep in deps if f"{change}/".startswith((f"{dep}/", f"{dep}."))} or {""}  # at most one has it
    assert {stage for stage, changed in status.items() if inside in changed} == CHANGES[change]


def test_a_changed_param_there_and_back_makes_no_second_run_of_the_first(clone: Clone) -> None:
    before = runs(clone), versions(clone)
    old = (clone.root / "params.yaml").read_text()
    clone.change_params({"train": {"unet": {"learning_rate": 0.001}}})
    done = clone.run("dvc", "repro")
    assert stages_that_ran(done.stdout) == {"start@unet", "train@unet", "evaluate@unet", "report", "publish"}
    changed = runs(clone), versions(clone)
    assert len(changed[1]) == len(before[1]) + 1
    (clone.root / "params.yaml").write_text(old)
    done = clone.run("dvc", "repro")
    assert stages_that_ran(done.stdout) == {"publish"}, "the run-cache has the rest"
    assert (runs(clone), versions(clone)) == changed
    assert clone.run("git", "status", "--porcelain").stdout == ""


def test_a_lost_database_is_built_anew(clone: Clone) -> None:
    assert clone.run("git", "status", "--porcelain").stdout == ""
    (clone.root / "mlflow.db").unlink()
    clone.run("dvc", "repro")
    assert len(versions(clone)) == 4
    assert {status for _, status in runs(clone)} == {"FINISHED"}


def test_an_experiment_is_compared_in_few_columns_and_makes_no_version(clone: Clone, tmp_path: Path) -> None:
    """What a new user types first; with `--temp` the experiment lands in the main database all the same."""
    before = runs(clone), versions(clone)
    clone.run("dvc", "exp", "run", "--temp", "-n", "slow", "-S", "train.unet.learning_rate=0.002")
    assert len(runs(clone)) > len(before[0])
    assert versions(clone) == before[1]
    show = ("dvc", "exp", "show", "--only-changed", "--drop", "data/", "--keep", "photo_distance", "--csv")
    columns = clone.run(*show).stdout.splitlines()[0].split(",")
    assert {"train.unet.learning_rate", "photo_distance.unet", "photo_distance.best_classical"} <= set(columns)
    assert len(columns) <= 14, columns
    assert not [name for name in columns if name.startswith("data/")]
    moved = json.loads(clone.run("dvc", "metrics", "diff", "HEAD", "slow", "--json").stdout)
    changed_scores = {name for of_file in moved.values() for name in of_file}  # the other may be equal to four digits
    assert {"photo_psnr_db.unet"} <= changed_scores <= {"photo_distance.unet", "photo_psnr_db.unet"}
    changed = json.loads(clone.run("dvc", "params", "diff", "HEAD", "slow", "--json").stdout)
    assert {name for of_file in changed.values() for name in of_file} == {"train.unet.learning_rate"}
    clone.run("dvc", "plots", "diff", "HEAD", "slow", "-o", str(tmp_path))
    assert '"rev": "slow"' in (tmp_path / "index.html").read_text()
    assert "| report |" in clone.run("dvc", "dag").stdout


def test_metrics_are_few_and_every_plot_has_its_points(clone: Clone, tmp_path: Path) -> None:
    (numbers,) = json.loads(clone.run("dvc", "metrics", "show", "--json").stdout)[""]["data"].values()
    shown = {name.removeprefix("train@") for name in TRAININGS} | {"best_classical"}
    assert {name: set(values) for name, values in numbers["data"].items()} == {
        "photo_distance": shown,
        "photo_psnr_db": shown,
    }
    plots = json.loads(clone.run("dvc", "plots", "show", "--json", "-o", str(tmp_path)).stdout)
    assert plots.get("errors", []) == []
    drawn = {name: data[0]["content"]["data"]["values"] for name, data in plots["data"].items() if "content" in data[0]}
    assert len(drawn) == 4
    for name, points in drawn.items():
        assert {"unet", "pix2pix"} <= {point["method"] for point in points}, name


def test_a_clone_has_everything_from_a_remote_at_once(clone: Clone, tmp_path: Path) -> None:
    """The steps of docs/pipeline.md, with a folder as the remote."""
    clone.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    clone.run("dvc", "push")
    clone.commit("A remote")
    clone.run("git", "clone", "-q", str(clone.root), str(tmp_path / "mate"))
    mate = ("env", "--chdir", str(tmp_path / "mate"))
    clone.run(*mate, "dvc", "pull")
    assert (tmp_path / "mate/data/report/index.html").exists()
    assert stages_that_ran(clone.run(*mate, "dvc", "repro").stdout) == {"publish"}


def test_stages_run_in_a_shell_that_has_not_activated_the_environment(clone: Clone) -> None:
    (clone.root / ".venv").symlink_to(sys.prefix)
    try:
        fresh = ("env", "-i", f"PATH={os.defpath}", f"HOME={clone.root}", "DVC_NO_ANALYTICS=1")
        done = clone.run(*fresh, ".venv/bin/dvc", "repro", "--force", "--single-item", "pair")
        assert stages_that_ran(done.stdout) == {"pair"}
    finally:
        (clone.root / ".venv").unlink()


def test_a_wrong_setting_stops_the_pipeline_with_one_message(clone: Clone) -> None:
    old = (clone.root / "params.yaml").read_text()
    try:
        clone.change_params({"prepare": {"short_side": [40]}})
        done = clone.run("dvc", "repro", check=False)
        assert done.returncode != 0
        assert "`prepare.short_side` is not a known key; did you mean `short_sides`?" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        (clone.root / "params.yaml").write_text(old)
        clone.run("git", "checkout", "-q", "--", ".")
        clone.run("dvc", "checkout", "-q")


LONG = pytest.mark.skipif("INPAINT_LONG" not in os.environ, reason="minutes: set INPAINT_LONG=1")


@LONG
@pytest.mark.parametrize("key", ["pconv", "pix2pix"])
def test_in_an_empty_clone_a_version_is_made_again_from_its_tags(clone: Clone, tmp_path: Path, key: str) -> None:
    clone.run("git", "clone", "-q", str(clone.root), str(tmp_path / "empty"))
    words = ["remote", "add", "--local", "--default", "store", str(clone.root / ".dvc/cache")]
    clone.run("dvc", "--cd", str(tmp_path / "empty"), *words)
    given = {"MLFLOW_TRACKING_URI": f"sqlite:///{clone.root}/mlflow.db"}
    rebuild = (sys.executable, "-m", "stages.serving.cli", "model", "rebuild", f"models:/inpaint-{key}/1")
    done = clone.run("env", "--chdir", str(tmp_path / "empty"), *rebuild, **given)
    assert done.stdout.startswith(f"equal: version 1 of inpaint-{key}")
    assert "make it again" not in done.stdout + done.stderr  # the data came by its hashes


@LONG  # the same of publish alone: tests/integration/test_publish.py
@pytest.mark.parametrize("lost", [["models/unet", "training/unet"], []], ids=["one", "all"])
def test_outputs_lost_beside_a_kept_database_come_back_as_the_same_runs_and_versions(
    clone: Clone, lost: list[str]
) -> None:
    clone.run("dvc", "repro")
    before, lock = (trainings(clone), versions(clone)), (clone.root / "dvc.lock").read_text()
    shutil.rmtree(clone.root / ".dvc/cache/runs")
    if not lost:
        shutil.rmtree(clone.root / ".dvc/cache")
    for folder in lost or made(clone):
        shutil.rmtree(clone.root / "data" / folder)
        if lost:
            name = hashes(lock)[f"data/{folder}"]
            (clone.root / ".dvc/cache/files/md5" / name[:2] / name[2:]).unlink()
    ran = stages_that_ran(clone.run("dvc", "repro").stdout)
    assert ran & TRAININGS == ({"train@unet"} if lost else TRAININGS)
    assert models((clone.root / "dvc.lock").read_text()) == models(lock)
    assert (trainings(clone), versions(clone)) == before


def models(lock: str) -> dict[str, str]:
    return {path: name for path, name in hashes(lock).items() if path.startswith("data/models/")}


def made(clone: Clone) -> list[str]:
    """The folders of the pipeline's outputs."""
    names = ("prepared", "masks", "augmented", "models", "training", "evaluation", "report")
    return [name for name in names if (clone.root / "data" / name).is_dir()]


def hashes(lock: str) -> dict[str, str]:
    """DVC's hashes of outputs, from the content of dvc.lock."""
    outs = [out for stage in yaml.safe_load(lock)["stages"].values() for out in stage.get("outs", [])]
    return {out["path"]: out["md5"] for out in outs}
