"""What takes disk space, and letting go of what nothing needs any more: objects of the DVC cache, versions, runs.

    with alone(Path()):
        found = survey(Path(), days=90)
        freed = let_go(found)

`stages.tracking.holdings` says which versions and runs stay. An object of the cache stays while one of these names it,
itself or as a member of a folder:

    dvc.lock or a .dvc file    as they lie here, in a call of retrain that was cut off, or at the tip of a branch, tag
                               or experiment of git
    a version that stays       by its tags, what it was trained on; and by the .dvc files of its commit
    its date                   an object that was written within the days is recent

Remotes of DVC are left as they are.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stages.runtime import dvc_locks, guard
from stages.runtime.errors import BusyError, InputError
from stages.runtime.params import read
from stages.tracking import holdings, store, versions
from stages.tracking.holdings import Holding, Present
from stages.tracking.record import read_record

LOCK = "dvc.lock"
_CUT_OFF = Path(".retrain/tree/dvc.lock")
_REFS = ("refs/heads", "refs/tags", "refs/remotes", "refs/exps", "refs/stash")
_FOLDER = ".dir"  # ends the name of an object that lists a folder
_DAY_S = 24 * 60 * 60


@dataclass(frozen=True)
class Object:
    """A file of the DVC cache.

    Attributes:
        name: DVC's hash of it.
        path: where it lies.
        num_bytes: its size.
        needed: whether it stays.
    """

    name: str
    path: Path
    num_bytes: int
    needed: bool


@dataclass(frozen=True)
class Found:
    """What takes disk space.

    Attributes:
        objects: of the cache.
        held: by MLflow.
        cache: the folder.
        ours: whether the cache is this project's alone, as far as its place tells.
    """

    objects: list[Object]
    held: list[Holding]
    cache: Path
    ours: bool

    def idle(self) -> list[Holding]:
        """Return what MLflow holds and nothing needs."""
        return [one for one in self.held if not one.needed]

    def idle_objects(self) -> list[Object]:
        """Return the objects that nothing needs; none where other projects may need them."""
        return [one for one in self.objects if not one.needed] if self.ours else []


def survey(root: Path, days: float | None) -> Found:
    """Look at what there is.

    Args:
        root: of the project, a git repository with DVC; the working directory.
        days: what is younger stays; None says that all does.

    Raises:
        InputError: the cache cannot be read, or MLflow has no version: then nobody knows what is needed.
        TrackingError: MLflow cannot be reached.
    """
    before_s = time.time() - days * _DAY_S if days is not None else 0.0
    prefix = f"{read('publish.model_name', str)}-"
    held = holdings.survey(read("publish.experiment", str), prefix, _present(root), round(before_s * 1000))
    staying = [one.version for one in held if one.version is not None and one.needed]
    if days is not None and not staying:
        raise InputError(
            f"MLflow at {store.shown()} has no version of {prefix}*, so nobody knows what is needed; dvc repro "
            "registers models; if they are registered elsewhere, set MLFLOW_TRACKING_URI"
        )
    cache = _cache(root)
    files = {_name(path): path for path in sorted(cache.glob("[0-9a-f][0-9a-f]/*")) if path.is_file()}
    needed = _with_members({*_named_by_files(root), *_named_by_versions(root, staying)}, files)
    objects = []
    for name, path in files.items():
        stat = path.stat()
        objects.append(Object(name, path, stat.st_size, name in needed or stat.st_mtime >= before_s))
    return Found(objects, held, cache, cache.resolve().is_relative_to(root.resolve()))


def let_go(found: Found) -> int:
    """Delete what nothing needs; a call that is cut off is completed by the next one.

    Returns:
        the bytes that were freed.

    Raises:
        TrackingError: MLflow cannot be reached, or refuses.
    """
    freed = sum(one.num_bytes for one in found.idle() if holdings.let_go(one))
    # Folders first: one that is listed whole while its files are gone would be taken for complete.
    for one in sorted(found.idle_objects(), key=lambda one: not one.name.endswith(_FOLDER)):
        one.path.unlink(missing_ok=True)
        freed += one.num_bytes
    return freed


def table(found: Found) -> list[str]:
    """Return what takes how much space, a line each, under a heading."""
    rows: list[tuple[str, list[tuple[int, bool]]]]
    rows = [("DVC cache", [(one.num_bytes, found.ours and not one.needed) for one in found.objects])]
    for kind in (holdings.VERSION, holdings.MODEL, holdings.RUN):
        rows.append((f"MLflow {kind}s", [(one.num_bytes, not one.needed) for one in found.held if one.kind == kind]))
    database = store.database()
    if database is not None and database.exists():
        rows.append(("MLflow database", [(database.stat().st_size, False)]))
    lines = [f"{'':22} {'number':>8} {'size':>10} {'not needed':>12} {'size':>10}"]
    for name, things in rows:
        idle = [num_bytes for num_bytes, is_idle in things if is_idle]
        size, going = in_words(sum(num_bytes for num_bytes, _ in things)), in_words(sum(idle))
        lines.append(f"{name:22} {len(things):>8} {size:>10} {len(idle):>12} {going:>10}")
    return lines


def listed(found: Found) -> list[str]:
    """Return what nothing needs, a line each; the objects of the cache, which have no names, in one."""
    lines = [f"{one.name}, {in_words(one.num_bytes)}" for one in found.idle()]
    objects = found.idle_objects()
    if objects:
        lines.append(f"{len(objects)} objects of {found.cache}, {in_words(sum(one.num_bytes for one in objects))}")
    return lines


def in_words(num_bytes: float) -> str:
    """Return a size as people read it: 1.2 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold the locks of retrain, of rebuild and of DVC.

    Args:
        root: of the project, the working directory.

    Raises:
        BusyError: retrain, a rebuild, DVC or one of its stages is running.
    """
    from dvc.lock import LockError
    from dvc.repo import Repo

    with guard.only_one("retrain"), guard.only_one("rebuild"), Repo(str(root)) as repo:
        try:
            repo.lock.lock()
        except LockError:
            raise BusyError("dvc is running in this project; wait for it, or stop it") from None
        try:
            _check_no_stage_runs(root)
            yield
        finally:
            repo.lock.unlock()


def _check_no_stage_runs(root: Path) -> None:
    """While a stage runs, DVC frees its lock and writes into another file which process reads and writes what."""
    if running := dvc_locks.at_work(root):
        pid, command = next(iter(running.items()))
        raise BusyError(f"process {pid} runs a stage ({command}); wait for it, or stop it")


def _present(root: Path) -> Present:
    """Return what the outputs that lie here are known by in MLflow."""
    records = [read_record(path.parent) for path in sorted(root.glob("data/training/*/record.json"))]
    return Present(frozenset(one.id for one in records), frozenset(one.model_sha256 for one in records))


def _cache(root: Path) -> Path:
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return Path(str(repo.cache.local.path))


def _name(path: Path) -> str:
    return path.parent.name + path.name


def _with_members(names: Iterable[str], files: dict[str, Path]) -> set[str]:
    """Add to the names of folders those of their files."""
    needed = set(names)
    for name in [name for name in needed if name.endswith(_FOLDER) and name in files]:
        try:
            needed.update(str(member["md5"]) for member in json.loads(files[name].read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise InputError(
                f"{files[name]} should list a folder, but cannot be read ({error}): nobody knows what is needed; "
                "delete it, if dvc repro or dvc pull makes it again"
            ) from None
    return needed


def _named_by_files(root: Path) -> Iterator[str]:
    pointers = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.dvc").split("\0")
    for path in [root / LOCK, root / _CUT_OFF, *(root / name for name in pointers if name)]:
        if path.is_file():
            yield from _hashes(path.read_text(encoding="utf-8"), str(path))
    tips = _git(root, "for-each-ref", "--format=%(objectname)", *_REFS).split()
    for tip in dict.fromkeys(tips):
        yield from _named_by_commit(root, tip, lambda name: name.endswith(".dvc") or Path(name).name == LOCK)


def _named_by_versions(root: Path, staying: list[versions.Version]) -> Iterator[str]:
    commits = set()
    for version in staying:
        yield from (value for tag, value in version.tags.items() if tag.startswith(versions.OUTPUT))
        commits.add(version.tags.get("git_commit", ""))
    for commit in sorted(commits):
        if commit and _has_commit(root, commit):  # another clone's, perhaps, which has a cache of its own
            yield from _named_by_commit(root, commit, lambda name: name.endswith(".dvc"))


def _named_by_commit(root: Path, commit: str, wanted: Callable[[str], bool]) -> Iterator[str]:
    names = _git(root, "ls-tree", "-r", "-z", "--name-only", commit).split("\0")
    for name in filter(wanted, names):
        yield from _hashes(_git(root, "show", f"{commit}:{name}"), f"{commit[:12]}:{name}")


def _hashes(text: str, source: str) -> Iterator[str]:
    """Yield every hash that a file of DVC's names."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{source} is not valid YAML, so nobody knows what it needs: {error}") from None
    yield from _md5s(content)


def _md5s(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        if isinstance(content.get("md5"), str):
            yield content["md5"]
        content = list(content.values())
    if isinstance(content, list):
        for each in content:
            yield from _md5s(each)


def _has_commit(root: Path, commit: str) -> bool:
    words = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(words, cwd=root, capture_output=True, check=False).returncode == 0


def _git(root: Path, *words: str) -> str:
    ran = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise InputError(f"git {words[0]} failed, so nobody knows what is needed: {ran.stderr.strip()}")
    return ran.stdout
