"""Limits of requests, by the memory of this machine."""

from contextlib import suppress
from dataclasses import dataclass
from math import isqrt
from pathlib import Path

import psutil

_BYTES_A_PIXEL = 1000  # of a crop; 660 were measured for the most demanding model
_SHARE = 0.75  # of the memory, for the worker process


def share_of_memory() -> int:
    """Return the bytes that the worker process may use, a share of the memory of this machine or container."""
    found = [psutil.virtual_memory().total]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # "max": no limit
            found.append(int(Path(path).read_text(encoding="ascii")))
    return int(_SHARE * min(found))


@dataclass(frozen=True)
class Limits:
    """Limits of requests.

    Attributes:
        max_bytes: of a request body.
        max_megapixels: of each picture.
        timeout_s: for one answer, including the wait, and for receiving the request.
        queue: requests that may wait while one is answered.
        memory_bytes: of the worker process.
        connections: simultaneous ones.
    """

    max_bytes: int = 64_000_000
    max_megapixels: float = 64
    timeout_s: float = 60
    queue: int = 8
    memory_bytes: int = 8_000_000_000
    connections: int = 200

    @property
    def most_megapixels_in_all(self) -> float:
        """The limit for all pictures of a request: the photo, its mask, and as much again for patches."""
        return 3 * self.max_megapixels

    @property
    def most_side(self) -> int:
        """The largest `max_side` that a request may ask for, in pixels."""
        return min(4096, isqrt(self.memory_bytes // _BYTES_A_PIXEL))
