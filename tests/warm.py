"""Python programs as processes that have their imports behind them.

`mlflow` imports for three seconds before it works, a stage for two to five, `dvc` for half of one. Here they are forked
off a server that has imported what they need. Process id, signals, working directory, environment, output and exit code
are the program's own, as ever. Not so what it registers with `atexit`, as joblib does to end its workers: that is not
called. And that the imports work is for the tests that start a program from nothing.

    with Program([sys.executable, "-m", "stages.train", "pconv"], cwd=folder, env=environment) as training:
        training.send_signal(signal.SIGSTOP)
"""

import multiprocessing
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from multiprocessing import spawn
from pathlib import Path
from typing import Any

import pytest

FORKSERVER = multiprocessing.get_context("forkserver")
OF_DVC = ("dvc.cli.parser", "dvc.repo.experiments", "dvc.repo.open_repo", "dvc.cachemgr", "scmrepo.git")
STAGES = ("publish.__main__", "train", "training.trainer", "pconv.module", "pix2pix.module")
FORKSERVER.set_forkserver_preload([*OF_DVC, "mlflow.cli", *(f"stages.{name}" for name in STAGES)])
_run = subprocess.run


class Program:
    """A Python program, used as `subprocess.Popen` is.

    Args:
        words: the interpreter, then `-m` and a module or `-c` and code, then what the program is given.
        cwd: its working directory, by default this one.
        env: its environment, by default this one.
    """

    def __init__(
        self, words: Sequence[Any], cwd: str | Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, folder)
        self._said = [Path(folder, name) for name in ("out", "err")]
        for path in self._said:
            path.touch()
        given = [str(word) for word in words[1:]], str(cwd or Path.cwd()), dict(env or os.environ), self._said
        self._process = FORKSERVER.Process(target=_become, args=given)
        whole = spawn.get_preparation_data
        with pytest.MonkeyPatch.context() as patch:  # unwatched by coverage, as what is started from nothing
            patch.setattr(spawn, "get_preparation_data", lambda name: whole(name) | {"stowaway": None})
            self._process.start()
        self.pid: int = self._process.pid or 0

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it has ended; return its exit code."""
        self._process.join(timeout)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait until it has ended; return what it has said to stdout and stderr."""
        self.wait(timeout)
        out, err = (path.read_text() for path in self._said)
        return out, err

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()


def _become(words: Sequence[str], place: str, environment: Mapping[str, str], said: Sequence[Path]) -> None:
    for number, path in enumerate(said, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [*words[1:]]
    sys.path[:0] = [place, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    if words[0] == "-m":
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        exec(words[1], {"__name__": "__main__"})


def run(words: Sequence[Any], **how: Any) -> Any:
    """Do what `subprocess.run` does; programs of DVC and MLflow are `Program`s."""
    if [*words[:2]] != [sys.executable, "-m"] or words[2] not in ("dvc", "mlflow"):
        return _run(words, **how)
    with Program(words, how.get("cwd"), how.get("env")) as program:
        out, err = program.communicate()
    if not how.get("capture_output"):
        sys.stderr.write(err if how.get("stdout") == subprocess.PIPE else err + out)
    done = subprocess.CompletedProcess(words, program.returncode or 0, out, err)
    if how.get("check"):
        done.check_returncode()
    return done


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """`subprocess.run`, wherever it is called, runs DVC and MLflow as a `Program`."""
    monkeypatch.setattr(subprocess, "run", run)
