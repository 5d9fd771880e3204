"""What a crash, a kill or a move of the project left behind, and its cure.

    for finding in examine(Path()):
        print(finding)

Hardly anything here stops the pipeline: locks of the stages are the kernel's and end with their process, an interrupted
training resumes, a cut-off call of retrain is completed by the next. What cannot mend itself is mended by `cure`.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stages.retrain.worktree import Worktree
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
    """Something that is not as it should be.

    Attributes:
        what: was found, and what follows from it.
        advice: what to do, "" where `clear` does it.
        clear: mends it; None where only a person can, or where it mends itself.
    """

    what: str
    advice: str = ""
    clear: Callable[[], object] | None = None

    def __str__(self) -> str:
        """Say what was found and what to do."""
        to_do = self.advice or ("inpaint doctor --fix mends it" if self.clear else "")
        return f"{self.what}; {to_do}" if to_do else self.what


def examine(root: Path) -> list[Finding]:
    """Look at all that may be stale in a project.

    Args:
        root: of the project, the working directory.

    Raises:
        InputError: there is no project.
    """
    if not (root / "params.yaml").exists():
        raise InputError(f"{root.resolve()} has no params.yaml; run inpaint doctor in the project's root")
    return [*examine_files(root), *_mlflow()]


def examine_files(root: Path) -> list[Finding]:
    """Look at what may be stale on the disk."""
    looks = (_of_dvc, _of_git, _drafts, _interrupted_trainings, _cut_off_call)
    return [finding for look in looks for finding in look(root)]


def cure(root: Path, look: Callable[[Path], list[Finding]] = examine) -> list[Finding]:
    """Mend what can be mended, while nothing else is at work; return what was.

    Args:
        root: of the project, the working directory.
        look: finds it.

    Raises:
        BusyError: a stage is at work, or retrain.
    """
    mended = []
    with guard.stage_lock("retrain"), guard.project_lock():
        for finding in look(root):
            if finding.clear is not None:
                finding.clear()
                mended.append(finding)
    return mended


def _of_dvc(root: Path) -> Iterator[Finding]:
    places = [root]
    with suppress(InputError):  # git does not answer, which is said below
        places.append(Worktree(root).tree)
    for place in places:
        if wrong := dvc_locks.stale(place):
            yield Finding(f"{wrong}; every DVC command fails", clear=partial(dvc_locks.clear, place))


def _of_git(root: Path) -> Iterator[Finding]:
    """Name the locks in which git names no process: whether one is still held, a person has to find out."""
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
    if (root / ".retrain/call.json").exists() and "retrain" not in guard.running_stages():
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
        yield Finding(str(error), "once that is mended, the next dvc repro sends what is missing")
