"""A disk that fails: the N-th call that changes a folder ends with an error of the system, as SQLite's tests do it.

    with Faults(folder, fail_at=3, number=errno.ENOSPC) as faults:
        main()                       # its third open, write, fsync, rename or mkdir under `folder` fails
    faults.calls                     # how many there were

Half of what a failing write was given is written, as a disk that becomes full does it.
"""

import builtins
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

KILL = -1
REMOVING = ("unlink", "rmdir")


class Faults:
    """Counts the calls by which Python code changes a folder, and lets one of them fail.

    Args:
        folder: calls elsewhere are left alone.
        fail_at: number of the call that fails, from 1; 0: none.
        number: of the error, from `errno`; `KILL`: no error, the process ends there, as by `kill -9`. Then calls that
            remove something are counted, too.

    Attributes:
        calls: what was called, in order.
    """

    def __init__(self, folder: Path, fail_at: int = 0, number: int = 0) -> None:
        self.calls: list[str] = []
        self._folder, self._fail_at, self._number = str(folder.resolve()), fail_at, number
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> "Faults":
        opened = io.open
        for module in (io, builtins):
            self._patch.setattr(module, "open", self._opening(opened))
        for name in ("replace", "rename", "mkdir", *(REMOVING if self._number == KILL else ())):
            self._patch.setattr(os, name, self._failing(name, getattr(os, name)))
        self._patch.setattr(os, "fsync", self._failing("fsync", os.fsync))
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    @property
    def failed(self) -> str:
        """Which call failed, "" when none did."""
        return self.calls[self._fail_at - 1] if 0 < self._fail_at <= len(self.calls) else ""

    def count(self, what: str, path: object) -> bool:
        """Count a call, and say whether it is to fail."""
        self.calls.append(f"{what} {Path(str(path)).name}")
        return len(self.calls) == self._fail_at

    def fail(self, path: object) -> NoReturn:
        """Do what this disk does to a call."""
        if self._number == KILL:
            os._exit(0)
        raise OSError(self._number, os.strerror(self._number), str(path))

    def _inside(self, path: object, folder: int | None = None) -> bool:
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink()
        if folder is not None:
            path = Path(f"/proc/self/fd/{folder}").readlink() / os.fsdecode(path)  # type: ignore[arg-type]
        return os.path.abspath(os.fsdecode(path)).startswith(self._folder)  # type: ignore[arg-type]  # noqa: PTH100

    def _failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def failing(path: Any, *rest: Any, **named: Any) -> Any:
            if self._inside(path, named.get("dir_fd")) and self.count(name, path):
                self.fail(path)
            return call(path, *rest, **named)

        return failing

    def _opening(self, opened: Callable[..., Any]) -> Callable[..., Any]:
        def opening(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            if mode.strip("bt") == "r" or isinstance(file, int) or not self._inside(file):
                return opened(file, mode, *rest, **named)
            if self.count("open", file):
                self.fail(file)
            return _Written(opened(file, mode, *rest, **named), file, self)

        return opening


class _Written:
    """A file whose writes are counted."""

    def __init__(self, file: Any, path: object, faults: Faults) -> None:
        self._file, self._path, self._faults = file, path, faults

    def write(self, content: Any) -> Any:
        if self._faults.count("write", self._path):
            view = content if isinstance(content, str) else memoryview(content).cast("B")
            self._file.write(view[: len(view) // 2])
            self._file.flush()
            self._faults.fail(self._path)
        return self._file.write(content)

    def __enter__(self) -> "_Written":
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._file.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
