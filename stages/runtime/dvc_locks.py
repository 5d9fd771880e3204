"""What a power cut leaves of DVC's own locks, and when it may be cleared away.

DVC writes down who reads and writes what in `.dvc/tmp/rwlock`, and forgets entries of dead processes by itself. It does
not survive a file that is half written, nor a process id that another program has been given since: every later
command then ends with "JSON structure is corrupted", or waits for a stranger.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from stages.runtime.errors import InputError
from stages.runtime.locks import flock

RWLOCK = Path(".dvc/tmp/rwlock")


def at_work(root: Path) -> dict[int, str]:
    """Return the living processes that DVC's lock file names, with their commands.

    Args:
        root: of the project, or of a worktree of it.

    Raises:
        InputError: the file is damaged, so nobody knows.
    """
    try:
        return _living(_named(root / RWLOCK))
    except ValueError:
        raise InputError(f"{stale(root)}; inpaint doctor --fix deletes it") from None


def is_orphaned(root: Path) -> bool:
    """Say whether every process that DVC's lock file names is gone, and with it the one that started a stage here."""
    try:
        named = _named(root / RWLOCK)
    except (OSError, ValueError):
        return False
    return bool(named) and not _living(named)


def stale(root: Path) -> str:
    """Say what is wrong with DVC's lock file, "" when nothing is.

    Args:
        root: of the project, or of a worktree of it.
    """
    path = root / RWLOCK
    try:
        named = _named(path)
    except ValueError:
        return f"{path} is half written, as after a power cut"
    strangers = sorted(pid for pid in _living(named) if not _is_dvc(pid))
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


def _named(path: Path) -> dict[int, str]:
    """Read which processes read or write something, and their commands; ValueError where the file is damaged."""
    if not path.exists():
        return {}
    mode = "a" if os.access(path.parent, os.W_OK) else "r"  # in a project that is read-only, DVC left one
    with path.with_name("rwlock.lock").open(mode) as guarded:
        flock(guarded, fcntl.LOCK_EX)  # as DVC does while it writes
        text = path.read_text(encoding="utf-8")
    try:
        lock: dict[str, Any] = json.loads(text)
        infos = [*lock.get("write", {}).values(), *(info for each in lock.get("read", {}).values() for info in each)]
        return {int(info["pid"]): info["cmd"] for info in infos}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} has another shape: {error}") from None


def _living(named: Mapping[int, str]) -> dict[int, str]:
    return {pid: command for pid, command in named.items() if psutil.pid_exists(pid)}


def _is_dvc(pid: int) -> bool:
    """Say whether a process may be DVC: one that cannot be looked at may."""
    try:
        return any("dvc" in word or "stages" in word for word in psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
