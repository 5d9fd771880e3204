"""What a power cut leaves of DVC's own locks, and when it may be cleared away.

DVC writes down who reads and writes what in `.dvc/tmp/rwlock`, and forgets entries of dead processes by itself. It does
not survive a file that is half written, nor a process id that another program has been given since: every later
command then ends with "JSON structure is corrupted", or waits for a stranger.
"""

import fcntl
import json
from pathlib import Path
from typing import Any

import psutil

RWLOCK = Path(".dvc/tmp/rwlock")


def stale(root: Path) -> str:
    """Say what is wrong with DVC's lock file, "" when nothing is.

    Args:
        root: of the project, or of a worktree of it.
    """
    path = root / RWLOCK
    if not path.exists():
        return ""
    try:
        with path.with_name("rwlock.lock").open("a") as guarded:
            fcntl.flock(guarded, fcntl.LOCK_EX)  # as DVC does while it writes
            entries = _entries(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{path} is half written, as after a power cut"
    strangers = sorted({pid for pid in entries if psutil.pid_exists(pid) and not _is_dvc(pid)})
    if strangers:
        return f"{path} names process {', '.join(map(str, strangers))}, which is not DVC"
    return ""


def clear(root: Path) -> str:
    """Delete DVC's lock file where it is stale; return what was wrong with it, "" when nothing was.

    To be called while no stage of the project runs (`guard.nothing_else`).
    """
    wrong = stale(root)
    if wrong:
        (root / RWLOCK).unlink(missing_ok=True)
    return wrong


def _entries(lock: dict[str, Any]) -> list[int]:
    writers = [info["pid"] for info in lock.get("write", {}).values()]
    return writers + [info["pid"] for infos in lock.get("read", {}).values() for info in infos]


def _is_dvc(pid: int) -> bool:
    """Say whether a process may be DVC: one that cannot be looked at may."""
    try:
        return any("dvc" in word or "stages" in word for word in psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
