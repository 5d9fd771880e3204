"""Names of processes that stay unique when process ids are reused.

    name = named(os.getpid())         # "workstation-4026531836.4242.17890123": PID namespace, PID, start time
    lives(name)                       # False once that very process has exited

Process ids are reused after a restart, and soon in containers, which count from 1.
"""

import platform
import re
import sys
from functools import cache
from pathlib import Path

import psutil

_ZOMBIE = "Z"  # exited, and not yet reaped by its parent


def named(pid: int) -> str:
    """Return the unique name of a running process of this machine, "" if there is none."""
    started = _started(pid)
    return f"{_here()}.{pid}.{started}" if started else ""


def lives(name: str) -> bool | None:
    """Return whether the process whose name ends the text still runs; None if it ran elsewhere or the text has none."""
    found = re.search(rf"(?:^|\.){re.escape(_here())}\.(\d+)\.(\d+)$", name)
    return None if found is None else _started(int(found[1])) == found[2]


@cache
def _here() -> str:
    """Name this machine and PID namespace: containers may share a host name."""
    try:
        return f"{platform.node()}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return platform.node()


def _started(pid: int) -> str:
    """Return when a process started, in clock ticks since boot, which clock changes do not affect; "" if it is gone."""
    try:
        if sys.platform != "linux":
            return f"{psutil.Process(pid).create_time():.0f}"
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
    except (OSError, psutil.NoSuchProcess):
        return ""
    return "" if state == _ZOMBIE else fields[18]
