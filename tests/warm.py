"""DVC's and MLflow's programs as processes that have their imports behind them.

A command line of `mlflow` imports for three seconds before it works, one of `dvc` for half of one. The fixture `warm`
lets `subprocess.run` fork such a process off a server that has imported both, in whichever of `stages` it is called:
its working directory, environment, output and exit code are its own, as ever.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(
    ["dvc.cli.parser", "dvc.repo.experiments", "dvc.repo.open_repo", "dvc.cachemgr", "scmrepo.git", "mlflow.cli"]
)
PROGRAMS = ("dvc", "mlflow")
_run = subprocess.run


def _become(words: Sequence[str], place: str, environment: Mapping[str, str], out: str, err: str) -> None:
    for number, name in ((1, out), (2, err)):
        if name:
            os.dup2(os.open(name, os.O_WRONLY), number)
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [*words]
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def run(words: Sequence[Any], **how: Any) -> Any:
    """Do what `subprocess.run` does."""
    if [*words[:2]] != [sys.executable, "-m"] or words[2] not in PROGRAMS:
        return _run(words, **how)
    with tempfile.TemporaryDirectory() as folder:
        said = {name: Path(folder, name) for name in ("out", "err")}
        for path in said.values():
            path.touch()
        environment = how.get("env") or dict(os.environ)
        given = (words[2:], str(how.get("cwd") or Path.cwd()), environment, *map(str, said.values()))
        process = FORKSERVER.Process(target=_become, args=given)
        process.start()
        process.join()
        out, err = (path.read_text() for path in said.values())
    if not how.get("capture_output"):
        sys.stderr.write(err)
        if how.get("stdout") != subprocess.PIPE:
            sys.stderr.write(out)
    done = subprocess.CompletedProcess(words, process.exitcode or 0, out, err)
    if how.get("check"):
        done.check_returncode()
    return done


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of DVC and MLflow run in processes that have imported what they need."""
    monkeypatch.setattr(subprocess, "run", run)
