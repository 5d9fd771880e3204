"""What `make repro` looks at before DVC does: of a missing path DVC says its name, but not what to do.

It also clears away the lock file that a power cut left, over which every command of DVC would stumble.

python -m stages.runtime.preflight
"""

import sys
from pathlib import Path

from stages.runtime import dvc_locks, guard
from stages.runtime.errors import ParamsError
from stages.runtime.log import log
from stages.runtime.params import read

PATHS = {
    "prepare.photos": "put photographs there, or name the folder that has them",
    "masks.files": "make it, even if no hole pictures are used, or name the folder that has them",
}


def main() -> None:
    """Check that what the params name from outside the pipeline is there, and that DVC's locks are whole."""
    if wrong := dvc_locks.clear(Path()):
        log(f"{wrong}: deleted, since nothing runs here")
    for key, advice in PATHS.items():
        path = Path(read(key, str))
        if not path.exists():
            raise ParamsError(f"params.yaml: `{key}` is {path}, which does not exist; {advice}")


if __name__ == "__main__":
    sys.exit(guard.run("preflight", main, alone=True))
