"""What a stage remembers from one run to the next, so that what is unchanged is not done again; outside DVC.

    with remembered("prepare", fingerprint({"tile_size": 64})) as folder:
        ...                                     # read what is there, leave what the next run may use

The folder is `.remembered/<stage>/<fingerprint>/` in the project's root. It may be deleted at any time: a stage writes
the same bytes with it and without.
"""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from stages.runtime import project
from stages.runtime.files import remove_folder, sha256
from stages.runtime.locks import flock

_LOCK = ".lock"


def fingerprint(facts: Mapping[str, Any]) -> str:
    """Hash what a piece of work depends on: the facts given (JSON), and every module of the project that is loaded."""
    modules = [module for name, module in sorted(sys.modules.items()) if name.startswith("stages.")]
    code = [sha256(module.__file__) for module in modules if module.__file__]
    return hashlib.sha256(json.dumps([facts, code], sort_keys=True).encode()).hexdigest()


@contextmanager
def remembered(stage: str, of: str) -> Iterator[Path]:
    """Hold the folder of a stage and fingerprint; waits while another process holds it.

    When the block ends without an error, the folders of other fingerprints that nobody holds are deleted.
    """
    home = project.root() / ".remembered" / stage
    folder = home / of[:32]
    with _locked(folder):
        yield folder
        for other in home.iterdir():
            if other != folder:
                _delete_if_free(other)


def _locked(folder: Path) -> IO[str]:
    """Make a folder and lock it: again, where another process deleted it while this one waited."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError), ExitStack() as opened:
            lock = opened.enter_context((folder / _LOCK).open("a"))
            flock(lock, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(lock.fileno()), (folder / _LOCK).stat()):
                opened.pop_all()
                return lock


def _delete_if_free(folder: Path) -> None:
    try:
        with (folder / _LOCK).open("w") as lock:
            flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_folder(folder)
    except OSError:  # held, or gone already
        pass
