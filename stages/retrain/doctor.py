"""Finds and mends what a crash, a kill or a move of the project left behind.

    for finding in examine(Path()):
        print(finding)

Hardly any of it stops the pipeline: the kernel releases a stage's lock when its process ends, an interrupted training
resumes, and the next call of retrain completes one that was cut off. `repair` does the rest.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stages.retrain.worktree import STATE, Worktree
from stages.runtime import dvc_locks, files, guard, project
from stages.runtime.errors import InputError, TrackingError
from stages.runtime.params import read
from stages.tracking import live, store
from stages.tracking.record import read_record

_WRITTEN_TO = ("data", ".resume", ".remembered", ".retrain")
_AND_IN_IT = ("", "/*", "/*/*")
_OLD_DAYS = 30
_DAY_S = 86_400


@dataclass(frozen=True)
class Finding:
    """A problem.

    Attributes:
        what: the problem and its consequence.
        advice: what to do; "" if `clear` does it.
        clear: mends it; None if only a person can, or if it mends itself.
    """

    what: str
    advice: str = ""
    clear: Callable[[], object] | None = None

    def __str__(self) -> str:
        """Return the problem and what to do."""
        to_do = self.advice or ("inpaint doctor --fix mends it" if self.clear else "")
        return f"{self.what}; {to_do}" if to_do else self.what


def examine(root: Path) -> list[Finding]:
    """Look for problems in a project and in MLflow.

    Args:
        root: of the project, the working directory.

    Raises:
        InputError: there is no project.
    """
    if not (root / "params.yaml").exists():
        raise InputError(f"{root.resolve()} has no params.yaml; run inpaint doctor in the project's root")
    return [*examine_files(root), *_mlflow()]


def examine_files(root: Path) -> list[Finding]:
    """Look for problems on the disk."""
    looks = (_of_dvc, _of_git, _drafts, _interrupted_trainings, _cut_off_call)
    return [finding for look in looks for finding in look(root)]


def repair(root: Path, look: Callable[[Path], list[Finding]] = examine) -> list[Finding]:
    """Repair what can be repaired while no stage runs, and return it.

    Args:
        root: of the project, the working directory.
        look: finds problems.

    Raises:
        BusyError: a stage or retrain is running.
    """
    repaired = []
    with guard.stage_lock("retrain"), guard.project_lock():
        for finding in look(root):
            if finding.clear is not None:
                finding.clear()
                repaired.append(finding)
    return repaired


def _of_dvc(root: Path) -> Iterator[Finding]:
    places = [root]
    with suppress(InputError):  # git fails, which `_of_git` reports
        places.append(Worktree(root).tree)
    for place in places:
        if wrong := dvc_locks.stale(place):
            yield Finding(f"{wrong}; every DVC command fails", clear=partial(dvc_locks.clear, place))


def _of_git(root: Path) -> Iterator[Finding]:
    """Name git's locks. They name no process, so a person has to find out whether one is still held."""
    try:
        places = project.git(
            "rev-parse", "--git-path", "index.lock", "--git-path", "HEAD.lock", place=root
        ).splitlines()
    except (OSError, subprocess.CalledProcessError) as error:
        yield Finding(
            f"git does not answer: {project.git_problem(error)}", "inpaint retrain needs a repository that it may use"
        )
        return
    for path in (root / place for place in places):
        if path.exists():
            yield Finding(f"{path} is there, and every commit ends there", "if no git is at work, delete it")


def _drafts(root: Path) -> Iterator[Finding]:
    patterns = [f"{place}{depth}" for place in _WRITTEN_TO for depth in _AND_IN_IT]
    found = {folder for pattern in patterns for folder in root.glob(pattern) if folder.is_dir()}
    for folder in [root, *sorted(found)]:
        if left := files.abandoned_drafts(folder, exclusive=True):
            names = ", ".join(path.name for path in left)
            yield Finding(f"{folder}: half-written {names}", clear=partial(files.clear_drafts, folder, exclusive=True))


def _interrupted_trainings(root: Path) -> Iterator[Finding]:
    for place in sorted(path for path in root.glob(".resume/*") if path.is_dir()):
        try:
            key = read_record(place / "record").key
        except InputError:
            key = "a model"
        if f"train@{key}" in guard.running_stages():
            continue
        days = (time.time() - max(path.stat().st_mtime for path in [place, *place.iterdir()])) / _DAY_S
        what = f"{place}: a training of {key} was interrupted {days:.0f} days ago"
        if days < _OLD_DAYS:
            yield Finding(f"{what}; dvc repro goes on with it, unless what it depends on has changed since")
        else:
            yield Finding(f"{what}, and nothing went on with it", clear=partial(files.remove_folder, place))


def _cut_off_call(root: Path) -> Iterator[Finding]:
    if (root / STATE).exists() and "retrain" not in guard.running_stages():
        yield Finding("a call of inpaint retrain was cut off; the next call completes it")


def _mlflow() -> Iterator[Finding]:
    experiment = read("publish.experiment", str)
    database = store.database()
    if database is not None and not database.exists():
        return
    try:
        if number := live.count_abandoned(experiment):
            what = f"{number} runs in MLflow count as running, but their trainings were killed"
            yield Finding(what, clear=partial(live.settle_abandoned, experiment))
    except TrackingError as error:
        yield Finding(str(error), "once that is repaired, the next dvc repro sends what is missing")
