"""Deletes what nothing needs any more: versions, models and runs in MLflow, then objects of the DVC cache.

    for line in tidy(days=90, yes=True):
        print(line)

`stages.tracking.holdings` decides which versions and runs stay; `mlflow gc` and `dvc gc` do the rest. Of the cache DVC
keeps what the working tree, all branches, tags and experiments, commits of the last days, and other projects that share
the cache name. It does not know registered versions, which name objects by hash, nor queued experiments; they are shown
to it as projects.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import yaml

from stages.retrain.worktree import STATE, Worktree
from stages.runtime import dvc_locks, files, guard, project
from stages.runtime.errors import BusyError, InputError
from stages.runtime.params import read
from stages.tracking import holdings, store, versions
from stages.tracking.holdings import Holding, Present
from stages.tracking.record import read_record

_DAY_S = 24 * 60 * 60


def tidy(days: float | None, yes: bool, others: Sequence[Path] = ()) -> Iterator[str]:
    """Delete what nothing needs in the project of the working directory. It may be repeated if it was cut off.

    Args:
        days: what is younger stays; None: only count.
        yes: delete; otherwise only list.
        others: projects that use the same DVC cache.

    Yields:
        what was deleted, or would be.

    Raises:
        BusyError: another process works in the project.
        InputError: what is needed cannot be determined.
        TrackingError: MLflow cannot be reached.
    """
    with _alone(Path()) if yes else nullcontext():
        held = survey(days)
        yield from (f"MLflow: {count} {kind}s" for kind, count in Counter(one.kind for one in held).items())
        if days is None:
            return
        for one in held:
            if not one.needed and (not yes or holdings.let_go(one)):
                yield f"{'let go of' if yes else 'not needed:'} {one.name}"
        if yes and not holdings.empty_trash():
            yield "their files stay until somebody calls mlflow gc where the server runs"
        if _is_shared(Path()) and not others:
            yield "the DVC cache may be of other projects, too, so it stays; name them by --project"
        else:
            yield _sweep(Path(), held, days, others, dry=not yes)
        if not yes:
            yield "say --yes to let go of it"


def survey(days: float | None) -> list[Holding]:
    """List what MLflow holds of the project in the working directory, and whether it is needed.

    Args:
        days: what is younger stays; None: everything stays.

    Raises:
        InputError: MLflow has no version that stays, so what is needed cannot be determined.
        TrackingError: MLflow cannot be reached.
    """
    before_ms = 0 if days is None else round((time.time() - days * _DAY_S) * 1000)
    prefix = f"{read('publish.model_name', str)}-"
    held = holdings.survey(read("publish.experiment", str), prefix, _present(), before_ms)
    if days is not None and not any(one.version and one.needed for one in held):
        raise InputError(
            f"MLflow at {store.shown()} has no version of {prefix}*, so nobody knows what is needed; dvc repro "
            "registers models; if they are registered elsewhere, set MLFLOW_TRACKING_URI"
        )
    return held


def _present() -> Present:
    """Return what identifies the present outputs in MLflow."""
    records = [read_record(path.parent) for path in sorted(Path().glob("data/training/*/record.json"))]
    return Present(frozenset(one.id for one in records), frozenset(one.model_sha256 for one in records))


def _is_shared(root: Path) -> bool:
    """Return whether other projects may use this cache: its place was chosen, or others may write to it."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return bool({"dir", "shared"} & repo.config["cache"].keys())


def _sweep(root: Path, held: Iterable[Holding], days: float, others: Sequence[Path], dry: bool) -> str:
    """Let `dvc gc` delete objects of the cache, or list them.

    Args:
        root: of the project, the working directory.
        held: by MLflow; needed versions stay, with what they were trained on.
        days: commits that are younger stay.
        others: projects that use the same cache.
        dry: only list.

    Returns:
        the output of `dvc gc`.

    Raises:
        InputError: it fails.
    """
    words = ["gc", "--workspace", "--all-branches", "--all-tags", "--all-experiments", "--force"]
    if days:
        words += ["--date", datetime.fromtimestamp(time.time() - days * _DAY_S, UTC).date().isoformat()]
    staying = [one.version for one in held if one.version is not None and one.needed]
    with tempfile.TemporaryDirectory() as folder:
        keepers = [*others, *_keepers(root, Path(folder), staying)]
        words += ["--projects", *map(str, keepers), *(["--dry"] if dry else [])]
        ran = subprocess.run(
            [sys.executable, "-m", "dvc", *words], cwd=root, capture_output=True, text=True, check=False
        )
    if ran.returncode:
        raise InputError(f"dvc gc failed: {ran.stderr.strip()}")
    return ran.stdout.strip()


def _keepers(root: Path, folder: Path, staying: Sequence[versions.Version]) -> Iterator[Path]:
    """Yield projects that name what has to stay and DVC does not know."""
    from dvc.repo import Repo

    if STATE.exists():  # of a call that was cut off
        yield Worktree(root).tree
    with Repo.init(str(folder), no_scm=True), Repo(str(root)) as repo:
        cache, queued = str(repo.cache.local_cache_dir), sorted(repo.experiments.stash_revs)
    _check_folders(Path(cache))
    files.write_text(folder / ".dvc/config", f"[cache]\n    dir = {cache}\n")
    kept = {value for one in staying for tag, value in one.tags.items() if tag.startswith(versions.OUTPUT)}
    pointer = {"outs": [{"path": f"{number}", "hash": "md5", "md5": name} for number, name in enumerate(sorted(kept))]}
    files.write_text(folder / "versions.dvc", yaml.safe_dump(pointer))
    here = project.git("rev-list", "--all").split()
    for commit in {one.tags.get("git_commit", "") for one in staying}.intersection(here):  # what was imported then
        found = project.git("ls-tree", "-r", "--name-only", commit).splitlines()
        _extract(root, commit, [name for name in found if name.endswith(".dvc")], folder / commit)
    for commit in queued:
        _extract(root, commit, ["."], folder / commit)
    project.git("init", "--quiet", place=folder)
    project.git("add", "--all", "--force", place=folder)
    words = ["-c", "user.name=inpaint", "-c", "user.email=inpaint@localhost", "commit", "--quiet", "--message=kept"]
    project.git(*words, place=folder)
    yield folder


def _check_folders(cache: Path) -> None:
    """Refuse a cache with a damaged list of a folder's files: `dvc gc` would take the folder for empty."""
    for path in cache.glob("files/md5/??/*.dir"):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(
                f"{path} should list a folder, but cannot be read ({error}): nobody knows what is needed; "
                "delete it, if dvc repro or dvc pull makes it again"
            ) from None


def _extract(root: Path, commit: str, paths: list[str], folder: Path) -> None:
    """Write files of a commit, below the project's root, into a folder."""
    if not paths:
        return
    ran = subprocess.run(["git", "archive", commit, "--", *paths], cwd=root, capture_output=True, check=True)
    with tarfile.open(fileobj=BytesIO(ran.stdout)) as archive:
        members = [member for member in archive if not member.name.startswith(".dvc")]
        archive.extractall(folder, members, filter="data")


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the locks of retrain and rebuild while no stage and no DVC command runs.

    Args:
        root: of the project, the working directory.

    Raises:
        BusyError: retrain, rebuild, DVC or a stage is running.
    """
    from dvc.lock import LockError
    from dvc.repo import Repo

    with guard.stage_lock("retrain"), guard.stage_lock("rebuild"):
        with Repo(str(root)) as repo:
            try:
                repo.lock.lock()
            except LockError:
                raise BusyError("dvc is running in this project; wait for it or stop it") from None
            repo.lock.unlock()  # dvc gc takes it
        if running := dvc_locks.at_work(root):
            pid, command = next(iter(running.items()))
            raise BusyError(f"process {pid} runs a stage ({command}); wait for it or stop it")
        yield
