"""Locks: two processes must not write at once what only one of them may."""

import contextlib
import json
import os
import socket
import sys
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from loang import untrusted
from loang.errors import LoangError

POLL = 0.05


@contextlib.contextmanager
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
        held = _take(file) is not False
        while not held and (end is None or time.monotonic() < end):
            time.sleep(POLL)
            held = _take(file) is not False
        yield held


class Lock:
    """The right to write somewhere, held from its making until `release`, or the process's end.

    The file says who holds it, so that another process can be told; what a process that was killed
    has left there is recognised, as the system has freed its lock.

    Args:
        path: the lock's file, in a folder that is there.
        what: what is locked, for messages: "The run in runs/photos".
        stays: whether the file is left there when the lock is given back.

    Raises:
        LoangError: another process holds it; says which.
        OSError: the file can't be written.
    """

    def __init__(self, path: Path, what: str, stays: bool = True) -> None:
        file, before = _claim(path, what)
        while not stays and not _stands(file, path):  # who had it has just removed it
            file.close()
            file, before = _claim(path, what)
        self.broken: Mapping[str, Any] | None = before or None
        """Who held it last, if it ended without a word."""
        self._release = weakref.finalize(self, _free, file, None if stays else path)

    def release(self) -> None:
        """Let others write; a second call does nothing."""
        self._release()


def _claim(path: Path, what: str) -> tuple[IO[str], Mapping[str, Any]]:
    """The lock's file, held and signed, and who held it before without giving it back."""
    file = path.open("a+", encoding="utf-8")
    try:
        before = _take_or_refuse(file, path, what)
        _note(file, {**_this_process(), "since": time.strftime("%Y-%m-%d %H:%M:%S")})
    except BaseException:
        file.close()
        raise
    return file, before


def _stands(file: IO[str], path: Path) -> bool:
    """Whether an open file is the one of that name still."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def refuse_if_held(path: Path, what: str) -> None:
    """Look whether a `Lock` could be had now; nothing is changed.

    Raises:
        LoangError: another process holds it; says which.
        OSError: the file can't be opened.
    """
    if path.exists():
        with path.open("a+", encoding="utf-8") as file:
            _take_or_refuse(file, path, what)


def holder(facts: Mapping[str, Any]) -> str:
    """A process in words: `process 4711 on atlas, since 2026-01-31 12:00:00`."""
    return (
        f"process {facts.get('process', '?')} on {facts.get('host', '?')},"
        f" since {facts.get('since', '?')}"
    )


def _take_or_refuse(file: IO[str], path: Path, what: str) -> Mapping[str, Any]:
    """Who held the lock before, and did not give it back; nobody: nothing."""
    taken, before = _take(file), _read(file)
    if taken is False or (taken is None and before and _may_live(before)):
        raise _refusal(path, what, before, sure=taken is False)
    return before


def _this_process() -> dict[str, Any]:
    import psutil

    started = psutil.Process().create_time()
    return {"process": os.getpid(), "started": started, "host": socket.gethostname()}


def _may_live(facts: Mapping[str, Any]) -> bool:
    """Where the file system has no locks: whether the process that wrote this may still run."""
    import psutil

    if facts.get("host") != socket.gethostname():
        return True
    try:
        started = psutil.Process(int(facts["process"])).create_time()
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False
    # A number may have been given to another process since.
    return bool(started == facts.get("started"))


def _refusal(path: Path, what: str, facts: Mapping[str, Any], sure: bool) -> LoangError:
    return LoangError(
        f"{what} is being written by {holder(facts)}.",
        "Wait for it, stop it, or name another place with --out"
        + (
            "."
            if sure or facts.get("host") == socket.gethostname()
            else f"; if it is not running any more, delete {path}."
        ),
    )


def _read(file: IO[str]) -> Mapping[str, Any]:
    file.seek(0)
    with contextlib.suppress(ValueError, OSError):
        return untrusted.parse_json(file.read(4096))
    return {}


def _note(file: IO[str], facts: Mapping[str, Any]) -> None:
    file.seek(0)
    file.truncate()
    if facts:
        file.write(json.dumps(facts))
    file.flush()


def _free(file: IO[str], removed: Path | None) -> None:
    with contextlib.suppress(OSError, ValueError), file:
        _note(file, {})
        # While it is held: whoever waits for this file sees that it stands there no more.
        if removed is not None and sys.platform != "win32":
            removed.unlink(missing_ok=True)
    if removed is not None and sys.platform == "win32":
        with contextlib.suppress(OSError):  # Windows removes nothing that a process has open
            removed.unlink(missing_ok=True)


if sys.platform == "win32":
    import msvcrt

    def _take(file: IO[Any]) -> bool | None:
        """Whether the lock is held now; None where the file system has no locks."""
        # Far beyond what is written there: others may read it.
        file.seek(2**30)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        except OSError:
            return None
        return True

else:
    import fcntl

    def _take(file: IO[Any]) -> bool | None:
        """Whether the lock is held now; None where the file system has no locks."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True
