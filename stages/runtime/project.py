"""The project's root, its git commit, and a hash of its loaded code."""

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
    """Return the project's root: `DVC_ROOT` if DVC runs the stage, else the folder that contains `stages`.

    The working directory may be another one: `dvc exp run --temp` runs stages in a temporary copy, and what must
    outlive it (the MLflow database, checkpoints) belongs to the root.
    """
    root = os.environ.get("DVC_ROOT")
    return Path(root) if root else Path(__file__).resolve().parents[2]


def commit() -> tuple[str, bool]:
    """Return the git commit of the working directory, and whether tracked files below it differ from it.

    `dvc.lock` does not count, since DVC writes it while stages run. If git fails, the reason is printed and the result
    is ("", True).
    """
    try:
        sha = git("rev-parse", "HEAD")
        return sha, bool(git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock"))
    except (OSError, subprocess.CalledProcessError) as error:
        log(f"no commit is recorded, so this cannot be reproduced from one: {git_problem(error)}")
        return "", True


def fingerprint(facts: Mapping[str, Any]) -> str:
    """Hash some facts (JSON) and the source code of every loaded module of the project."""
    modules = [module for name, module in sorted(sys.modules.items()) if name.startswith("stages.")]
    code = [sha256(module.__file__) for module in modules if module.__file__]
    return hashlib.sha256(json.dumps([facts, code], sort_keys=True).encode()).hexdigest()


def git_problem(error: OSError | subprocess.CalledProcessError) -> str:
    """Return in one line why git failed: not installed, not a repository, or owned by another user."""
    output = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
    return " ".join(f"{output or error}".split())


def experiment() -> str:
    """Return the name of the DVC experiment that is running, "" outside `dvc exp run`."""
    return os.environ.get("DVC_EXP_NAME", "")


def git(*words: str, place: Path | None = None) -> str:
    """Run git in a folder, by default the working directory, and return its output.

    Raises:
        OSError: git is not installed.
        CalledProcessError: git fails, for instance outside a repository.
    """
    return subprocess.run(["git", *words], cwd=place, check=True, capture_output=True, text=True).stdout.strip()
