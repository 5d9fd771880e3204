"""How a stage starts and stops: alone, with DVC, and with one clear message when it cannot go on.

if __name__ == "__main__":
    sys.exit(guard.run("prepare", main))
"""

import ctypes
import errno
import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

import psutil

from stages.runtime import dvc_locks, processes
from stages.runtime.errors import BusyError, InpaintError, InputError
from stages.runtime.locks import flock

LOCKS_DIR = Path(".locks")
_ANY_STAGE = "project"  # held together by all stages, alone by whoever must know that none is at work
_SAID_IN_WORDS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG, errno.EIO)
_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.5
_ORPHAN_S = 20.0
_held: list[int] = []


def run(stage: str, main: Callable[[], None], alone: bool = False, first: Callable[[], object] = lambda: None) -> int:
    """Run a stage's `main` as its process: return its exit code, say failures in words.

    Args:
        stage: the stage's name as DVC writes it, e.g. "train@pconv"; two processes never run the same stage of one
            working tree at once.
        main: reads params and files, writes the outputs.
        alone: whether no other stage may run meanwhile, either.
        first: what to do while this process does not count as at work yet, and may require that nothing is.
    """
    try:
        _end_with_dvc()
        first()
        with nothing_else() if alone else _at_work(), only_one(stage):
            main()
    except InpaintError as error:
        return _fail(stage, str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail(stage, "interrupted; run it again, and it goes on from here", 128 + signal.SIGINT)
    except OSError as error:
        if error.errno not in _SAID_IN_WORDS:
            raise
        return _fail(stage, f"{error}. Nothing half-written is left; make room or give access, and run it again", 2)
    return 0


def run_with_key(stage: str, main: Callable[[str], None]) -> int:
    """Run one member of a group of stages, whose key is the command's only word: `python -m stages.evaluate pconv`."""
    if len(sys.argv) != 2:
        return _fail(stage, f"one key of params.yaml should follow, but {len(sys.argv) - 1} words came", 2)
    key = sys.argv[1]
    return run(f"{stage}@{key}", lambda: main(key))


def _fail(stage: str, message: str, exit_code: int) -> int:
    sys.stderr.write(f"\n{stage}: {message}\n")
    return exit_code


@contextmanager
def only_one(name: str) -> Iterator[None]:
    """Hold the lock called `name` of this working tree.

    The kernel frees it when the process dies, however it dies, so no lock is ever stale.

    Raises:
        BusyError: another process holds it.
    """
    with _lock_file(name) as file:
        if not _is_free(file):
            file.seek(0)
            holder, _, named = file.read().partition(" ")
            if processes.lives(named) is not False:
                holder = holder or "unknown"
                raise BusyError(f"process {holder} is running it in this folder; wait for it, or stop that one")
            _wait_for_orphan(file, holder)
        file.truncate(0)
        file.write(f"{os.getpid()} {processes.named(os.getpid())}")
        file.flush()
        _held.append(file.fileno())
        try:
            yield
        finally:
            _held.remove(file.fileno())


def held() -> tuple[int, ...]:
    """Return the descriptors of the locks of `only_one`: who inherits them holds the locks, too, until its own end.

    Where the kernel does not end programs with their parent, what a killed process had started goes on; nobody else
    should do the same meanwhile.
    """
    return tuple(_held)


def _is_free(file: IO[str]) -> bool:
    """Lock a file unless another process has; say whether it is ours."""
    try:
        flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for_orphan(file: IO[str], parent: str) -> None:
    """Wait a while for what a killed process had started, and which is told to end, to do so."""
    until = time.monotonic() + _ORPHAN_S
    while not _is_free(file):
        if time.monotonic() > until:
            raise BusyError(f"what process {parent}, which was killed, had started is still at work; wait for it")
        time.sleep(_LOOK_S)


@contextmanager
def nothing_else() -> Iterator[None]:
    """Hold the working tree for oneself: no stage runs, and none can start.

    Raises:
        BusyError: a stage runs.
    """
    with _lock_file(_ANY_STAGE) as file:
        try:
            flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            running = ", ".join(f"{name} (process {pid})" for name, pid in holders().items())
            raise BusyError(f"{running or 'a stage'} is at work in this folder; wait for it, or stop it") from None
        yield


@contextmanager
def _at_work() -> Iterator[None]:
    with _lock_file(_ANY_STAGE) as file:
        try:
            flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError("inpaint doctor is at work in this folder; run it again in a moment") from None
        yield


def holders() -> dict[str, int]:
    """Name the stages that run, with their processes, as these wrote it down: looking by locking might disturb one."""
    said = {path.stem: path.read_text(encoding="utf-8").partition(" ") for path in sorted(LOCKS_DIR.glob("*.lock"))}
    return {stage: int(pid) for stage, (pid, _, name) in said.items() if processes.lives(name)}


def _lock_file(name: str) -> IO[str]:
    try:
        LOCKS_DIR.mkdir(exist_ok=True)
        return (LOCKS_DIR / f"{name}.lock").open("a+")
    except OSError as error:
        raise InputError(
            f"cannot write in {Path.cwd()}: {error.strerror}; run the stages in a folder of yours"
        ) from None


def _end_with_dvc() -> None:
    """Ask for SIGTERM when DVC dies, and turn SIGTERM into an exit that runs every `finally`.

    Without this a killed `dvc repro` leaves its stage running, and the next one starts a second beside it. Who was
    started by a person or a scheduler instead, goes on after them, as `nohup` has it.
    """
    signal.signal(signal.SIGTERM, _leave)
    if "DVC_ROOT" not in os.environ:
        return
    parent = os.getppid()
    end_with_parent()
    above = _above_shell(parent)
    if above or sys.platform != "linux":
        threading.Thread(target=_watch, args=(parent, above), daemon=True).start()
    if os.getppid() != parent or dvc_locks.is_orphaned(Path()):  # it died before the request stood
        raise SystemExit(128 + signal.SIGTERM)


def _above_shell(pid: int) -> int:
    """Return who started a shell that DVC runs a command by, 0 if there is none: dash and fish stay between the two."""
    with suppress(psutil.Error):
        words = psutil.Process(pid).cmdline()
        if len(words) > 2 and words[-2] == "-c" and words[0].endswith("sh"):
            return psutil.Process(pid).ppid()
    return 0


def _watch(parent: int, above: int) -> None:
    """End this process when its parent is gone, or whoever was above a shell; the kernel tells of a parent alone."""
    with suppress(psutil.NoSuchProcess):
        while os.getppid() == parent and (not above or psutil.Process(parent).ppid() == above):
            time.sleep(_LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)


def end_with_parent(by: int = signal.SIGTERM) -> None:
    """Ask the kernel for a signal when the parent dies, where it is a Linux; also between a fork and its program."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, by)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
