"""List the photographs at an address with their versions, as a list that `prepare.photos` can name.

    python -m stages.prepare.listing s3://bucket/photos data/photos.parquet    # or .csv

DVC then looks at the list instead of the photographs, of which a large bucket has too many.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from stages.imaging.sources import search_remote
from stages.runtime import guard
from stages.runtime.errors import InputError
from stages.runtime.files import write_csv, write_parquet
from stages.runtime.log import log
from stages.runtime.remote import is_address

_WRITERS = {".csv": write_csv, ".parquet": write_parquet}


def write_listing(address: str, path: Path) -> int:
    """Write the list; return how many files it has.

    Raises:
        InputError: `address` is not an address or cannot be read, or `path` ends in neither `.csv` nor `.parquet`.
    """
    if path.suffix not in _WRITERS:
        raise InputError(f"{path} should end in {' or '.join(_WRITERS)}")
    if not is_address(address):
        raise InputError(f"{address} should be an address such as s3://bucket/photos; a folder needs no list")
    files = search_remote(address)
    _WRITERS[path.suffix](path, pd.DataFrame(files, columns=["folder", "file", "version"]))
    return len(files)


def main() -> None:
    """Read the arguments, write the list."""
    parser = argparse.ArgumentParser(prog="python -m stages.prepare.listing", description=__doc__.partition("\n")[0])
    parser.add_argument("address", help="of a folder, such as s3://bucket/photos")
    parser.add_argument("path", type=Path, help="of the list, .csv or .parquet")
    arguments = parser.parse_args()
    log(f"{arguments.path}: {write_listing(arguments.address, arguments.path)} files")


if __name__ == "__main__":
    sys.exit(guard.run("listing", main))
