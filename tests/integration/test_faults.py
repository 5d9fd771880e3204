"""Every stage on a disk that fails at its N-th call: what it made before, or what it was making, but never half of it.

The same of a stage that is killed at its N-th call. By default eight calls of a stage fail, each of another kind or
file; with INPAINT_LONG=1 every call there is, with three errors each.
"""

import errno
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import stages.augment.__main__ as augment
import stages.evaluate.__main__ as evaluate
import stages.masks.__main__ as masks
import stages.prepare.__main__ as prepare
import stages.report.__main__ as report
from stages import pair, photographs, start, train
from stages.runtime import files
from stages.runtime.errors import InpaintError
from stages.runtime.files import sha256
from stages.training import trainer
from stages.training.settings import START
from tests.clone import ROOT, TINY, params_with
from tests.factories import without_charts, without_export, write_photos
from tests.faults import KILL, Faults

pytestmark = pytest.mark.slow

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
MOST = 8
LONG = bool(os.environ.get("INPAINT_LONG"))
CHANGES = {
    "seed": 1,
    "tile_size": 24,
    "prepare": {"photos": "photos", "short_sides": [30], "max_tiles_per_photo": 2, "val_share": 0.3, "test_share": 0.3},
    "masks": {"train": 12, "val": 8, "test_per_cell": 1, "kinds": {"files": 0}},
    "train": {"pconv": {"steps": 10, "validate_every": 6, "checkpoint_every_s": 1e-6, "finetune_steps": 2}},
    "pairs": {"per_cell": 1, "gallery": 2},
    "photographs": {"max_side": 96, "count": 3, "gallery": 1},
}
STAGES: dict[str, tuple[Callable[[], None], list[str]]] = {
    "prepare": (prepare.main, ["data/prepared"]),
    "masks": (masks.main, ["data/masks"]),
    "augment": (augment.main, ["data/augmented"]),
    "pair": (pair.main, ["data/pairs.csv"]),
    "photographs": (photographs.main, ["data/photographs"]),
    "train": (lambda: train.main("pconv"), ["data/models/pconv", "data/training/pconv"]),
    "evaluate": (lambda: evaluate.main("mean"), ["data/evaluation/mean"]),
    "report": (report.main, ["data/report"]),
}
MEMORIES = (".remembered", ".resume")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose stages all ran with one seed, whose outputs are in `old`, and then with another, in `new`."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("DVC_ROOT", str(root))
        patch.setenv("INPAINT_WORKERS", "1")
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        patch.setattr(trainer, "MIRROR", "this")  # what MLflow shows meanwhile has tests of its own
        without_export(patch.setattr)
        without_charts(patch.setattr)
        Path("stages").symlink_to(ROOT / "stages")
        write_photos("photos", range(24))
        params = params_with(TINY, CHANGES)
        params["models"] = {"pconv": params["models"]["pconv"]}
        params["methods"] = {"mean": params["methods"]["mean"]}
        start.provide("none", Path(), START / "pconv")
        for name, seed in (("old", 1), ("new", 2)):
            Path("params.yaml").write_text(yaml.safe_dump(params | {"seed": seed}))
            for stage, outs in STAGES.values():
                stage()
                for out in outs:
                    copy(Path(out), Path(name) / out)
        yield root


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def content(out: Path) -> dict[str, Any]:
    """What an output says, file by file, but for the times in it."""
    files = [out] if out.is_file() else [path for path in sorted(out.rglob("*")) if path.is_file()]
    return {str(path.relative_to(out.parent)): _timeless(path) for path in files}


def _timeless(path: Path) -> Any:
    if path.suffix == ".parquet" and "evaluation" in path.parts:
        return pd.read_parquet(path).drop(columns="milliseconds", errors="ignore").to_json()
    if path.name == "summary.json":
        return {name: value for name, value in json.loads(path.read_text()).items() if name not in ("ms", "photo_ms")}
    if path.name == "record.json":
        record = json.loads(path.read_text())
        return [record[name] for name in ("status", "fingerprint", "model_sha256")]
    if path.suffix == ".csv" and "training" in path.parts:
        return re.sub(r"^(\d+),.*", r"\1", path.read_text(), flags=re.MULTILINE) if path.name != "system.csv" else ""
    return sha256(path)


def drafts(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in root.rglob("*.draft")]


def chosen(calls: list[str]) -> list[int]:
    """Which calls fail."""
    if LONG:
        return list(range(1, len(calls) + 1))
    first = {re.sub(r"\d+", "#", call): at for at, call in reversed(list(enumerate(calls, 1)))}
    ats = sorted(first.values())
    return ats[:: 1 + len(ats) // MOST]


def lay_out(project: Path, outs: list[str], which: str) -> None:
    """Put the old or the new outputs of a stage in place."""
    for out in outs:
        remove(project / out)
        copy(project / which / out, project / out)


@dataclass(frozen=True)
class Stage:
    """A stage of the project, and what its outputs say after its run with either seed."""

    name: str
    main: Callable[[], None]
    outs: list[str]
    old: dict[str, Any]
    new: dict[str, Any]
    project: Path

    def begin(self) -> None:
        """Put it before its run: with the old outputs, and nothing to go on from."""
        lay_out(self.project, self.outs, "old")
        for memory in MEMORIES:
            shutil.rmtree(self.project / memory, ignore_errors=True)

    def made(self) -> dict[str, Any]:
        """What its outputs say now."""
        return {out: content(Path(out)) for out in self.outs}


@pytest.fixture(params=STAGES)
def stage(project: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    main, outs = STAGES[request.param]
    old, new = ({out: content(project / which / out) for out in outs} for which in ("old", "new"))
    yield Stage(request.param, main, outs, old, new, project)
    lay_out(project, outs, "new")  # which the next stage reads


def test_a_failing_disk_leaves_no_half_output(stage: Stage) -> None:
    def run(at: int = 0, number: int = 0) -> Faults:
        stage.begin()
        with Faults(stage.project, at, number) as faults:
            try:
                stage.main()
            except (OSError, InpaintError) as error:
                assert os.strerror(number) in str(error), faults.failed  # noqa: PT017
        return faults

    calls = run().calls
    assert stage.made() == stage.new
    assert {"open", "write", "fsync"} <= {call.split()[0] for call in calls}
    tried = list(product(chosen(calls), ERRORS)) if LONG else list(zip(chosen(calls), cycle(ERRORS), strict=False))
    for at, number in tried:
        failed = run(at, number).failed
        for out, said in stage.made().items():
            assert said in (stage.old[out], stage.new[out], {}), f"{failed} left half of {out}"
        stage.main()
        assert stage.made() == stage.new, f"after {failed}"
        assert drafts(stage.project / "data") == [], f"after {failed}"
    print(f"{stage.name}: {len(tried)} failures of {len(calls)} calls")


def test_a_kill_leaves_nothing_half_and_the_next_run_all_of_it(stage: Stage) -> None:
    stage.begin()
    with Faults(stage.project, number=KILL) as counted:
        stage.main()
    tried = chosen(counted.calls)
    for at in tried:
        killed = counted.calls[at - 1]
        stage.begin()
        in_a_fork(lambda at=at: run_until(stage, at))
        for out, said in stage.made().items():
            assert said in (stage.old[out], stage.new[out], {}), f"killed at {killed}, it left half of {out}"
        files._clear_drafts_once.cache_clear()  # as the next process has it
        stage.main()
        assert stage.made() == stage.new, f"killed at {killed}"
        assert drafts(stage.project) == [], f"killed at {killed}"
        assert not any((stage.project / ".resume").glob("*")), f"killed at {killed}"
    print(f"{stage.name}: killed at {len(tried)} of {len(counted.calls)} calls")


def run_until(stage: Stage, at: int) -> None:
    with Faults(stage.project, at, KILL):
        stage.main()


def in_a_fork(work: Callable[[], None]) -> None:
    """Do something in a process that knows all that this one does; what it says is lost."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # threads: torch's, which are idle
        child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
