"""Locks of files, which the kernel frees when their holder dies, however it dies."""

import errno
import fcntl
from typing import IO

from stages.runtime.errors import InputError

_NONE_HERE = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


def flock(file: IO[str], how: int) -> None:
    """Lock an open file as `fcntl.flock` does.

    Raises:
        BlockingIOError: `how` says not to wait, and another process holds it.
        InputError: its file system has no locks.
    """
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno not in _NONE_HERE:
            raise
        raise InputError(
            f"{file.name}: this file system has no locks ({error.strerror}), without which two processes could write "
            "the same files; mount it with locks (NFS: without nolock), or put the project on a local disk"
        ) from None
