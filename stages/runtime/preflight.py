"""Checks before `make repro` starts DVC, which names a missing path but not what to do about it.

Also deletes a stale DVC lock file, left by a power cut, which would make every DVC command fail.

python -m stages.runtime.preflight
"""

import sys
from pathlib import Path

from stages.runtime import dvc_locks, guard, remote
from stages.runtime.errors import ParamsError
from stages.runtime.log import log
from stages.runtime.params import read

PATHS = {
    "prepare.photos": "put photographs there, or name the folder that has them",
    "masks.files": "create it, even if you use no mask pictures, or name the folder that has them",
}


def main() -> None:
    """Check that the input folders in params.yaml exist, and delete a stale DVC lock file."""
    if problem := dvc_locks.clear(Path()):
        log(f"{problem}: deleted, since no stage is running")
    for key, advice in PATHS.items():
        path = read(key, str)
        if remote.is_address(path):
            remote.check(path)
        elif not Path(path).exists():
            raise ParamsError(f"params.yaml: `{key}` is {path}, which does not exist; {advice}")


if __name__ == "__main__":
    sys.exit(guard.run("preflight", main, exclusive=True))
