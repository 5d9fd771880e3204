"""File locks. The kernel releases them when their holder exits, even if it is killed.

filelock has no shared locks, which stages that run side by side need.
"""

import errno
import fcntl
from typing import IO

from stages.runtime.errors import InputError

_NONE_HERE = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


def flock(file: IO[str], how: int) -> None:
    """Lock an open file with `fcntl.flock`.

    Raises:
        BlockingIOError: `how` includes `LOCK_NB` and another process holds the lock.
        InputError: the file system does not support locks.
    """
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno not in _NONE_HERE:
            raise
        raise InputError(
            f"{file.name}: this file system has no locks ({error.strerror}), so two processes could write the same "
            "files; mount it with locks (NFS: without nolock), or move the project to a local disk"
        ) from None
