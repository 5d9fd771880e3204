"""Which process is meant, where a file or a server says who was at work.

    name = named(os.getpid())         # "workstation-4026531836.4242.17890123": where it counts, its number, its start
    lives(name)                       # False as soon as that very process has ended

A number alone is soon given to another process: after a restart, and above all in containers, which count from 1.
"""

import platform
import re
import sys
from functools import cache
from pathlib import Path

import psutil

_ZOMBIE = "Z"  # killed, and not yet taken notice of by its parent


def named(pid: int) -> str:
    """Name a living process of this machine as no other is named, before or after; "" where there is none."""
    started = _started(pid)
    return f"{_here()}.{pid}.{started}" if started else ""


def lives(name: str) -> bool | None:
    """Say whether the process that a name ends with still lives; None if it ran elsewhere, or is no such name."""
    found = re.search(rf"(?:^|\.){re.escape(_here())}\.(\d+)\.(\d+)$", name)
    return None if found is None else _started(int(found[1])) == found[2]


@cache
def _here() -> str:
    """Name what numbers the processes: this machine, or on it a container, which may have been given the same name."""
    try:
        return f"{platform.node()}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return platform.node()


def _started(pid: int) -> str:
    """Return when a process started: in ticks since the machine did, which no change of its clock moves."""
    try:
        if sys.platform != "linux":
            return f"{psutil.Process(pid).create_time():.0f}"
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
    except (OSError, psutil.NoSuchProcess):
        return ""
    return "" if state == _ZOMBIE else fields[18]
