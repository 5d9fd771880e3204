"""Entry point of stages: locks, signals, exit codes.

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
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

import psutil

from stages.runtime import dvc_locks, processes
from stages.runtime.errors import BusyError, InpaintError, InputError
from stages.runtime.locks import flock

LOCKS_DIR = Path(".locks")
_PROJECT = "project"  # shared by all running stages, exclusive for what must run while no stage does
_REPORTED_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG, errno.EIO)
_PR_SET_PDEATHSIG = 1
_POLL_S = 0.5
_ORPHAN_TIMEOUT_S = 20.0
_held: list[int] = []


def run(
    stage: str, main: Callable[[], None], exclusive: bool = False, before: Callable[[], object] = lambda: None
) -> int:
    """Run a stage's `main` in this process, print its failure as a message, and return the exit code.

    Args:
        stage: the stage's name as in dvc.yaml, e.g. "train@pconv"; only one process runs it in a working tree.
        main: reads params and files, writes the outputs.
        exclusive: whether no other stage may run at the same time, either.
        before: called before this process takes its locks.
    """
    try:
        _end_with_dvc()
        before()
        with ExitStack() as locks:
            if "TORCHELASTIC_RUN_ID" not in os.environ or os.environ["RANK"] == "0":  # one process of torchrun's
                locks.enter_context(project_lock() if exclusive else _shared_lock())
                locks.enter_context(stage_lock(stage))
            main()
    except InpaintError as error:
        return _fail(stage, str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail(stage, "interrupted; run it again to continue", 128 + signal.SIGINT)
    except OSError as error:
        if error.errno not in _REPORTED_ERRORS:
            raise
        return _fail(
            stage, f"{error}. No incomplete output is left; free some space or fix the permissions, and run it again", 2
        )
    return 0


def run_with_key(stage: str, main: Callable[[str], None]) -> int:
    """Run one stage of a group; its key is the only argument, as in `python -m stages.evaluate pconv`."""
    if len(sys.argv) != 2:
        return _fail(stage, f"expected one key of params.yaml, got {len(sys.argv) - 1} arguments", 2)
    key = sys.argv[1]
    return run(f"{stage}@{key}", lambda: main(key))


def _fail(stage: str, message: str, exit_code: int) -> int:
    sys.stderr.write(f"\n{stage}: {message}\n")
    return exit_code


@contextmanager
def stage_lock(name: str) -> Iterator[None]:
    """Hold the lock called `name` in this working tree; the kernel releases it when the process exits.

    Raises:
        BusyError: another process holds it.
    """
    with _lock_file(name) as file:
        if not _try_lock(file):
            file.seek(0)
            holder, _, named = file.read().partition(" ")
            if processes.lives(named) is not False:
                holder = holder or "unknown"
                raise BusyError(f"process {holder} is running it in this folder; wait for it or stop it")
            _wait_for_orphan(file, holder)
        file.truncate(0)
        file.write(f"{os.getpid()} {processes.named(os.getpid())}")
        file.flush()
        _held.append(file.fileno())
        try:
            yield
        finally:
            _held.remove(file.fileno())


def lock_descriptors() -> tuple[int, ...]:
    """Return the file descriptors of the stage locks that this process holds.

    A child process that inherits them holds the locks, too: it may outlive a killed parent, and nobody else should do
    the same work meanwhile.
    """
    return tuple(_held)


def _try_lock(file: IO[str]) -> bool:
    """Try to lock a file; return whether it worked."""
    try:
        flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for_orphan(file: IO[str], parent: str) -> None:
    """Wait for the children of a killed process, which have been told to exit."""
    until = time.monotonic() + _ORPHAN_TIMEOUT_S
    while not _try_lock(file):
        if time.monotonic() > until:
            raise BusyError(f"process {parent} was killed, but its child processes are still running; wait for them")
        time.sleep(_POLL_S)


@contextmanager
def project_lock() -> Iterator[None]:
    """Lock the working tree: no stage runs, and none can start.

    Raises:
        BusyError: a stage is running.
    """
    with _lock_file(_PROJECT) as file:
        try:
            flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            running = ", ".join(f"{name} (process {pid})" for name, pid in running_stages().items())
            raise BusyError(f"{running or 'a stage'} is running in this folder; wait for it or stop it") from None
        yield


@contextmanager
def _shared_lock() -> Iterator[None]:
    with _lock_file(_PROJECT) as file:
        try:
            flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError("inpaint doctor is running in this folder; try again in a moment") from None
        yield


def running_stages() -> dict[str, int]:
    """Return the running stages with their process ids, read from the lock files; taking a lock might disturb one."""
    content = {path.stem: path.read_text(encoding="utf-8").partition(" ") for path in sorted(LOCKS_DIR.glob("*.lock"))}
    return {stage: int(pid) for stage, (pid, _, name) in content.items() if processes.lives(name)}


def _lock_file(name: str) -> IO[str]:
    try:
        LOCKS_DIR.mkdir(exist_ok=True)
        return (LOCKS_DIR / f"{name}.lock").open("a+")
    except OSError as error:
        raise InputError(
            f"cannot write to {Path.cwd()}: {error.strerror}; run stages in a folder that you own"
        ) from None


def _end_with_dvc() -> None:
    """Exit when DVC dies, and turn SIGTERM into an exit that runs every `finally`.

    Otherwise a killed `dvc repro` would leave its stage running, and the next one would start a second. A stage that
    DVC did not start outlives its parent, so that `nohup` works.
    """
    signal.signal(signal.SIGTERM, _leave)
    if "DVC_ROOT" not in os.environ:
        return
    parent = os.getppid()
    end_with_parent()
    above = _above_shell(parent)
    if above or sys.platform != "linux":
        threading.Thread(target=_watch, args=(parent, above), daemon=True).start()
    if os.getppid() != parent or dvc_locks.is_orphaned(Path()):  # DVC died before the request took effect
        raise SystemExit(128 + signal.SIGTERM)


def _above_shell(pid: int) -> int:
    """Return the parent of the shell that DVC runs a command in, 0 if there is no shell: dash and fish do not exec."""
    with suppress(psutil.Error):
        words = psutil.Process(pid).cmdline()
        if len(words) > 2 and words[-2] == "-c" and words[0].endswith("sh"):
            return psutil.Process(pid).ppid()
    return 0


def _watch(parent: int, above: int) -> None:
    """Terminate this process when its parent or the parent of its shell is gone; the kernel only reports the former."""
    with suppress(psutil.NoSuchProcess):
        while os.getppid() == parent and (not above or psutil.Process(parent).ppid() == above):
            time.sleep(_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)


def end_with_parent(by: int = signal.SIGTERM) -> None:
    """On Linux, ask the kernel for a signal when the parent dies; may be called between fork and exec."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, by)


def end_with(parent: int, _number: int = 0) -> None:
    """End this process as soon as its parent is gone, which may have been while it started."""
    end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
