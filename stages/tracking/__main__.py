"""Mirror a running training to MLflow; the training starts and ends this process.

    python -m stages.tracking RECORD_DIR

It reads the name of the experiment from params.yaml, and RECORD_DIR as it grows; it writes to MLflow only.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

from stages.runtime.errors import InpaintError
from stages.runtime.params import read
from stages.tracking.live import follow

_NICE = 15  # training has priority


def main() -> int:
    """Follow the record until its training ends."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m stages.tracking RECORD_DIR\n")
        return 2
    parent = os.getppid()
    os.nice(_NICE)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        follow(Path(sys.argv[1]), read("publish.experiment", str), parent)
    except InpaintError as error:
        sys.stderr.write(f"no live view in MLflow: {error}\n")
        return error.exit_code
    return 0


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
