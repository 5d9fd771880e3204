"""DVC's own lock file, which a power cut can leave in a state that stops every later command.

DVC records in `.dvc/tmp/rwlock` which process reads and writes which path, and ignores entries of dead processes. It
cannot cope with a truncated file ("JSON structure is corrupted") nor with a process id that now belongs to another
program, for which it waits. That is why a damaged or foreign lock file is deleted here while no stage runs.
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
    """Return the running processes named in DVC's lock file, with their commands.

    Args:
        root: of the project, or of one of its worktrees.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return _living(_named(root / RWLOCK))
    except ValueError:
        raise InputError(f"{stale(root)}; inpaint doctor --fix deletes it") from None


def is_orphaned(root: Path) -> bool:
    """Return whether all processes named in DVC's lock file are gone, and so the one that started this stage."""
    try:
        named = _named(root / RWLOCK)
    except (OSError, ValueError):
        return False
    return bool(named) and not _living(named)


def stale(root: Path) -> str:
    """Describe what is wrong with DVC's lock file, "" if nothing is.

    Args:
        root: of the project, or of one of its worktrees.
    """
    path = root / RWLOCK
    try:
        named = _named(path)
    except ValueError:
        return f"{path} is truncated, as after a power cut"
    strangers = sorted(pid for pid in _living(named) if not _is_dvc(pid))
    if strangers:
        return f"{path} names process {', '.join(map(str, strangers))}, which is not DVC"
    return ""


def clear(root: Path) -> str:
    """Delete DVC's lock file if it is stale, and return the problem; call it while holding `guard.project_lock`."""
    problem = stale(root)
    if problem:
        (root / RWLOCK).unlink(missing_ok=True)
    return problem


def _named(path: Path) -> dict[int, str]:
    """Return the process ids in the lock file with their commands; ValueError if the file is damaged."""
    if not path.exists():
        return {}
    mode = "a" if os.access(path.parent, os.W_OK) else "r"  # a read-only project may have one, too
    with path.with_name("rwlock.lock").open(mode) as guarded:
        flock(guarded, fcntl.LOCK_EX)  # as DVC does to write it
        text = path.read_text(encoding="utf-8")
    try:
        lock: dict[str, Any] = json.loads(text)
        infos = [*lock.get("write", {}).values(), *(info for each in lock.get("read", {}).values() for info in each)]
        return {int(info["pid"]): info["cmd"] for info in infos}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} has an unexpected structure: {error}") from None


def _living(named: Mapping[int, str]) -> dict[int, str]:
    return {pid: command for pid, command in named.items() if psutil.pid_exists(pid)}


def _is_dvc(pid: int) -> bool:
    """Return whether a process may be DVC; a process of another user may."""
    try:
        return any("dvc" in word or "stages" in word for word in psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
