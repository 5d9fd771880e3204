"""Python programs as processes that have their imports behind them.

`mlflow` imports for three seconds before it works, a stage for two to five, `dvc` for half of one. Here they are forked
off a server that has imported what they need. Process id, signals, working directory, environment, output and exit code
are the program's own, as ever. Not so what it registers with `atexit`, as joblib does to end its workers: that is not
called. Nor what Python and its libraries read from the environment when they start: TZ, PYTHONHASHSEED and their like
are the server's. That imports work, and that nothing depends on the order of a set, is for the tests that start a
program from nothing.

    with Program([sys.executable, "-m", "stages.train", "pconv"], cwd=folder, env=environment) as training:
        training.send_signal(signal.SIGSTOP)

    subprocess.run(["dvc", "repro"], env=os.environ | warm_stages())
"""

import atexit
import json
import multiprocessing
import os
import runpy
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing import connection, reduction, spawn
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joblib.externals.loky.backend.process import LokyProcess

FORKSERVER = multiprocessing.get_context("forkserver")
OF_DVC = ("dvc.cli.parser", "dvc.repo.experiments", "dvc.repo.open_repo", "dvc.cachemgr", "scmrepo.git")
STAGES = ("publish.__main__", "train", "training.trainer", "pconv.module", "pix2pix.module")
FORKSERVER.set_forkserver_preload([*OF_DVC, "mlflow.cli", *(f"stages.{name}" for name in STAGES)])
ADDRESS = "INPAINT_WARM"  # as in handing_over/sitecustomize.py
COLD = {ADDRESS: ""}  # for the environment of a command whose stages start from nothing
HANDING_OVER = Path(__file__).parent / "handing_over"
_run = subprocess.run
_asking = threading.Lock()  # a start asks all processes whether they have ended; of two who ask at once, one gets 255


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
        given = [str(word) for word in words[1:]], str(cwd or Path.cwd()), dict(env or os.environ)
        with self._said[0].open("a") as out, self._said[1].open("a") as err:
            self._process = _start(*given, {1: out.fileno(), 2: err.fileno()})
        self.pid: int = self._process.pid or 0

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        with _asking:
            return self._process.exitcode

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it has ended; return its exit code."""
        connection.wait([self._process.sentinel], timeout)
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


class _Sent:
    """A file descriptor on its way to a forked process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return _received, (reduction.DupFd(self.number),)


def _received(sent: Any) -> int:
    number: int = sent.detach()
    return number


def _start(words: Sequence[str], place: str, environment: Mapping[str, str], files: Mapping[int, int]) -> Any:
    sent = {number: _Sent(file) for number, file in files.items()}
    process = FORKSERVER.Process(target=_become, args=(words, place, environment, sent))
    whole = spawn.get_preparation_data
    with _asking, pytest.MonkeyPatch.context() as patch:  # unwatched by coverage, as what is started from nothing
        patch.setattr(spawn, "get_preparation_data", lambda name: whole(name) | {"stowaway": None})
        process.start()
    return process


def _become(words: Sequence[str], place: str, environment: Mapping[str, str], files: Mapping[int, int]) -> None:
    for number, file in files.items():
        os.dup2(file, number)
        os.close(file)
    if 0 in files:
        sys.stdin = os.fdopen(0, closefd=False)
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [*words[1:]]
    sys.path[:0] = [place, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    if Path(place, "stages").is_dir():  # a project of its own, with code of its own
        for name in [name for name in sys.modules if name.partition(".")[0] == "stages"]:
            del sys.modules[name]
    np.random.seed()  # noqa: NPY002 - else all processes would draw the same
    try:
        if words[0] == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            exec(words[1], {"__name__": "__main__"})
    finally:
        for worker in multiprocessing.active_children():
            if isinstance(worker, LokyProcess):  # which would be waited for
                worker.terminate()


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


@cache
def warm_stages() -> dict[str, str]:
    """Return environment variables with which every `python -m stages...` below a command is forked off the server.

    The process that was started stays, passes SIGINT and SIGTERM on, and ends as the stage ends; if it is killed, so is
    the stage. The stage has another process id, and does not notice that DVC has died, so tests of that start theirs
    from nothing. Elsewhere than on Linux, where a library that has been imported may not allow a fork, it returns none.
    """
    if sys.platform != "linux":
        return {}
    address = str(Path(tempfile.mkdtemp(), "stages"))
    server = _Server(address, _Stage)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    atexit.register(shutil.rmtree, Path(address).parent, ignore_errors=True)
    return {ADDRESS: address, "PYTHONPATH": str(HANDING_OVER)}


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


class _Stage(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        """Start what is asked for; pass signals on and the exit code back."""
        size, files, *_ = socket.recv_fds(self.request, 4, 3)
        sent = b""
        while left := int.from_bytes(size, "big") - len(sent):  # no more: a signal may follow
            sent += self.request.recv(left)
        words, place, environment = json.loads(sent)
        process = _start(words[1:], place, environment, dict(enumerate(files)))
        for file in files:
            os.close(file)
        while process.sentinel not in connection.wait([self.request, process.sentinel]):
            number = self.request.recv(1)
            with suppress(ProcessLookupError):
                os.kill(process.pid, number[0] if number else signal.SIGKILL)
            if not number:
                break
        connection.wait([process.sentinel])
        with _asking:
            code = process.exitcode
        with suppress(OSError):
            self.request.sendall(code.to_bytes(2, "big", signed=True))
