"""What `make repro` looks at before DVC does: of a missing path DVC says its name, but not what to do.

It also clears away the lock file that a power cut left, over which every command of DVC would stumble.

python -m stages.running.preflight
"""

import sys
from pathlib import Path

from stages.running import dvc_locks, guard
from stages.running.errors import ParamsError
from stages.running.params import read
from stages.running.say import say

PATHS = {
    "prepare.photos": "put photographs there, or name the folder that has them",
    "masks.files": "make it, even if no hole pictures are used, or name the folder that has them",
}


def main() -> None:
    """Check that what the params name from outside the pipeline is there, and that DVC's locks are whole."""
    if wrong := dvc_locks.clear(Path()):
        say(f"{wrong}: deleted, since nothing runs here")
    for key, advice in PATHS.items():
        path = Path(read(key, str))
        if not path.exists():
            raise ParamsError(f"params.yaml: `{key}` is {path}, which does not exist; {advice}")


if __name__ == "__main__":
    sys.exit(guard.run("preflight", main, alone=True))
