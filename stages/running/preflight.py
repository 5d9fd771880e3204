"""What `make repro` looks at before DVC does: of a missing path DVC says its name, but not what to do.

python -m stages.running.preflight
"""

import sys
from pathlib import Path

from stages.running import guard
from stages.running.errors import ParamsError
from stages.running.params import read

PATHS = {
    "prepare.photos": "put photographs there, or name the folder that has them",
    "masks.files": "make it, even if no hole pictures are used, or name the folder that has them",
}


def main() -> None:
    """Check that what the params name from outside the pipeline is there."""
    for key, advice in PATHS.items():
        path = Path(read(key, str))
        if not path.exists():
            raise ParamsError(f"params.yaml: `{key}` is {path}, which does not exist; {advice}")


if __name__ == "__main__":
    sys.exit(guard.run("preflight", main))
