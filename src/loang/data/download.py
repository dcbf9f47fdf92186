"""Fetches one file: from the first mirror that serves it, resumable, checked, moved in whole."""

import hashlib
import http.client
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loang.data.mirrors import Answer, Mirrors
from loang.errors import LoangError
from loang.lock import locked

# (name of the file, bytes so far, bytes in all where known)
Progress = Callable[[str, int, int | None], None]
WAITING = "images that another process reads"
"""The name that it is given while that process is waited for."""
CHUNK = 1 << 16


def fetch(
    urls: Sequence[str],
    destination: Path,
    *,
    sha256: str,
    size: int | None = None,
    connect_timeout: float = 2.0,
    stall_timeout: float = 5.0,
    deadline: float | None = None,
    on_progress: Progress | None = None,
) -> str | None:
    """Brings a file to `destination`, which afterwards holds exactly what `sha256` names.

    What has arrived is kept beside it in a `.part` file: a later call goes on from there. Two
    processes that want the same file take turns, and the second finds it done.

    Args:
        urls: mirrors, the preferred one first.
        destination: where the file goes; its folder is made.
        sha256: of the whole file, in hexadecimal.
        size: bytes of the whole file, where known.
        connect_timeout: seconds for all mirrors together until one answers; it covers name
            look-up, every address, proxies and redirects.
        stall_timeout: seconds without a byte after which a mirror is given up.
        deadline: seconds for everything; a mirror is also given up when its speed over the first
            `stall_timeout` seconds could not meet it.
        on_progress: called as bytes arrive.

    Returns:
        The address that served the file, or None where it was there already.

    Raises:
        LoangError: no mirror answered, none had the right content, all were too slow, or the
            folder cannot be written.
    """
    end = None if deadline is None else time.monotonic() + deadline
    try:
        if _matches(destination, sha256):
            return None
        destination.parent.mkdir(parents=True, exist_ok=True)
        with locked(destination.with_name(destination.name + ".lock"), deadline) as held:
            if _matches(destination, sha256):
                return None
            if not held:
                raise LoangError(
                    f"{destination.name} is still being fetched by another process.",
                    "Try again when that one is done.",
                )
            part, url = destination.with_name(destination.name + ".part"), None
            if not _matches(part, sha256):
                mirrors = Mirrors(destination.name, urls, connect_timeout, stall_timeout)
                url = _Transfer(part, sha256, size, end, stall_timeout, on_progress).run(mirrors)
            part.replace(destination)
            return url
    except OSError as error:
        raise LoangError(
            f"{destination} cannot be written: {error.strerror or error}.",
            "Make room or give yourself the right to write there, or name another folder.",
        ) from error


def _matches(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


class _MirrorFailed(Exception):
    """Why one mirror did not do; the next may."""


@dataclass(frozen=True)
class _Transfer:
    """One file on its way into `part`."""

    part: Path
    sha256: str
    size: int | None
    end: float | None
    stall_timeout: float
    on_progress: Progress | None

    def run(self, mirrors: Mirrors) -> str:
        """Asks mirrors until `part` is whole and right; returns the one that completed it."""
        while True:
            offset = self._kept()
            url, answer = mirrors.open(offset)
            try:
                with answer:
                    started = self._receive(answer, offset)
                if _matches(self.part, self.sha256):
                    return url
                self.part.unlink(missing_ok=True)
                # If the bytes from before are to blame, the same mirror does better from zero.
                if started == 0:
                    raise _MirrorFailed("sent something else (its checksum differs)")
            except _MirrorFailed as failure:
                mirrors.reject(url, str(failure))

    def _kept(self) -> int:
        """How many bytes of an earlier attempt can be built on."""
        kept = self.part.stat().st_size if self.part.is_file() else 0
        # One that is whole was found wrong before this transfer began.
        if self.size is not None and kept >= self.size:
            self.part.unlink()
            return 0
        return kept

    def _receive(self, answer: Answer, offset: int) -> int:
        """Appends what arrives; returns the offset at which this answer began."""
        if answer.status == 206:
            if not (answer.headers["Content-Range"] or "").startswith(f"bytes {offset}-"):
                raise _MirrorFailed("sent another part of the file than was asked for")
        elif answer.status == 416:  # fewer bytes there than kept here: what is kept is no good
            self.part.unlink(missing_ok=True)
            return offset
        else:
            offset = 0  # the mirror cannot resume and sends everything
        length = answer.headers["Content-Length"]
        announced = offset + int(length) if (length or "").isdigit() else None
        total = self.size if self.size is not None else announced
        began, done = time.monotonic(), offset
        with self.part.open("ab" if offset else "wb") as file:
            while chunk := _read(answer):
                file.write(chunk)
                done += len(chunk)
                if self.on_progress is not None:
                    self.on_progress(self.part.stem, done, total)
                self._judge(began, done - offset, done, total)
            file.flush()
            os.fsync(file.fileno())
        if total is not None and done < total:
            raise _MirrorFailed(f"broke off after {done:,} of {total:,} bytes")
        return offset

    def _judge(self, began: float, received: int, done: int, total: int | None) -> None:
        if total is not None and done > total:
            raise _MirrorFailed(f"sent more than {total:,} bytes")
        if self.end is None:
            return
        now = time.monotonic()
        elapsed, left = now - began, self.end - now
        to_come = 0 if total is None else total - done
        hopeless = elapsed > self.stall_timeout and to_come * elapsed > left * received
        if to_come > 0 and (left < 0 or hopeless):
            raise _MirrorFailed(f"is too slow ({received / max(elapsed, 0.1) / 1000:,.0f} kB/s)")


def _read(answer: Answer) -> bytes:
    """Some bytes, or none at the end; network trouble becomes `_MirrorFailed`."""
    try:
        return answer.read1(CHUNK)
    except TimeoutError as error:
        raise _MirrorFailed("stopped sending") from error
    except (OSError, http.client.HTTPException) as error:
        raise _MirrorFailed(f"broke off ({error})") from error
