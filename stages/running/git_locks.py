"""What a power cut, or a kill of everything, leaves of git's own locks, and when it may be cleared away.

Git locks a file `NAME` by making `NAME.lock`, in which no process is named: one that is left makes every later commit
end with "Another git process seems to be running in this repository".
"""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from stages.running import project

_NAMES = ("index.lock", "HEAD.lock", "packed-refs.lock", "refs/heads/**/*.lock")
_SETTLED_S = 60  # a younger one may be of a git that cannot be seen, in another container


def stale(root: Path) -> list[Path]:
    """List the locks that no git of this machine can be holding.

    Args:
        root: of the project, or of a worktree of it.
    """
    try:
        said = project.git("rev-parse", "--git-dir", "--git-common-dir", "--show-toplevel", place=root)
    except (OSError, subprocess.CalledProcessError):  # without git, or outside a repository
        return []
    own, common, top = ((root / line).resolve() for line in said.splitlines())
    found = sorted({path for folder in (own, common) for name in _NAMES for path in folder.glob(name)})
    old = [path for path in found if _is_old(path)]
    return old if old and not any(_at_work(top, common.parent)) else []


def _is_old(lock: Path) -> bool:
    try:
        return time.time() - lock.stat().st_mtime > _SETTLED_S
    except FileNotFoundError:  # it was given back this moment
        return False


def _at_work(*places: Path) -> Iterator[int]:
    """Yield the gits that may be working in some folders: also those of which the system does not say where they do."""
    for process in psutil.process_iter(["name", "cwd"]):
        if (process.info["name"] or "").startswith("git"):
            where = process.info["cwd"]
            if not where or any(Path(where).is_relative_to(place) for place in places):
                yield process.pid
