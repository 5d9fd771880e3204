"""Where the project is: the root that DVC names, the commit it stands at, and a hash of the code at work."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.runtime.files import sha256
from stages.runtime.log import log


def root() -> Path:
    """Return the project's root: `DVC_ROOT` where DVC runs the stage, else the folder above `stages`.

    Not the working directory: `dvc exp run --temp` runs the stages in another one, and what must outlive it (the
    MLflow database, the state to resume from) belongs to the root.
    """
    said = os.environ.get("DVC_ROOT")
    return Path(said) if said else Path(__file__).resolve().parents[2]


def commit() -> tuple[str, bool]:
    """Return the git commit of the working directory, and whether tracked files below it differ from that.

    But for `dvc.lock`, which DVC writes while the stages run. Where git does not answer, that is said, and the commit
    is "", which counts as different.
    """
    try:
        sha = git("rev-parse", "HEAD")
        return sha, bool(git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock"))
    except (OSError, subprocess.CalledProcessError) as error:
        log(f"no commit is recorded, so nobody can make this again from it: {silence(error)}")
        return "", True


def fingerprint(facts: Mapping[str, Any]) -> str:
    """Hash what a piece of work depends on: some facts (JSON) and the source of every loaded module of the project."""
    modules = [module for name, module in sorted(sys.modules.items()) if name.startswith("stages.")]
    code = [sha256(module.__file__) for module in modules if module.__file__]
    return hashlib.sha256(json.dumps([facts, code], sort_keys=True).encode()).hexdigest()


def silence(error: OSError | subprocess.CalledProcessError) -> str:
    """Say in a line why git does not answer: it is not installed, this is no repository, or it is somebody else's."""
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
    return " ".join(f"{said or error}".split())


def experiment() -> str:
    """Return the name of the DVC experiment that runs the stage, "" outside `dvc exp run`."""
    return os.environ.get("DVC_EXP_NAME", "")


def git(*words: str, place: Path | None = None) -> str:
    """Return what git answers in a folder, by default the working directory.

    Raises:
        OSError: there is no git.
        CalledProcessError: it refuses, as outside a repository.
    """
    return subprocess.run(["git", *words], cwd=place, check=True, capture_output=True, text=True).stdout.strip()
