"""What requests to the server may cost, by what this machine has."""

from contextlib import suppress
from dataclasses import dataclass
from math import isqrt
from pathlib import Path

import psutil

_BYTES_A_PIXEL = 1000  # of a crop filled at once; 660 by the hungriest of all models and methods
_SHARE = 0.75  # of the memory, for the process that fills


def share_of_memory() -> int:
    """Return how many bytes of what this machine, or the container, has the process that fills may take."""
    found = [psutil.virtual_memory().total]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # "max": no limit
            found.append(int(Path(path).read_text(encoding="ascii")))
    return int(_SHARE * min(found))


@dataclass(frozen=True)
class Limits:
    """What requests may cost.

    Attributes:
        max_bytes: of a body.
        max_megapixels: of each picture.
        timeout_s: for one answer, waiting included, and for sending the request.
        queue: requests that may wait while one is answered.
        memory_bytes: of the process that decodes and fills.
        connections: at a time.
    """

    max_bytes: int = 64_000_000
    max_megapixels: float = 64
    timeout_s: float = 60
    queue: int = 8
    memory_bytes: int = 8_000_000_000
    connections: int = 200

    @property
    def most_megapixels_in_all(self) -> float:
        """Of all pictures of a request: the photo, its hole, and as much again of patches."""
        return 3 * self.max_megapixels

    @property
    def most_side(self) -> int:
        """Pixels; the longest crop that a request may ask to have filled at once."""
        return min(4096, isqrt(self.memory_bytes // _BYTES_A_PIXEL))
