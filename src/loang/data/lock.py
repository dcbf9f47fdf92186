"""A lock on a file that two processes would otherwise write at once."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

POLL = 0.05


@contextmanager
def locked(path: Path, patience: float | None) -> Iterator[bool]:
    """Holds the lock that `path` stands for; the system frees it even if the process is killed.

    Args:
        path: a file that only serves as lock; it is made, and stays, since removing it would let
            two processes lock two files of one name.
        patience: seconds to wait for another process, or None for as long as it takes.

    Yields:
        Whether the lock is held; False when patience ran out. On a file system without locks
        it is True: what is locked here is also guarded by checksums.

    Raises:
        OSError: the file cannot be made.
    """
    end = None if patience is None else time.monotonic() + patience
    with path.open("ab") as file:
        held = _take(file)
        while not held and (end is None or time.monotonic() < end):
            time.sleep(POLL)
            held = _take(file)
        yield held


if sys.platform == "win32":
    import msvcrt

    def _take(file: IO[bytes]) -> bool:
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        except OSError:
            pass
        return True

else:
    import fcntl

    def _take(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True
