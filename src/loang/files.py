"""Files that are whole or not there: written beside their place, flushed, moved in one rename.

What must not be lost reaches the disk through `write`, `flush` and `rename`, which ask the system
by `os` and nothing else: a test that makes these fail has seen every failure there is.
"""

import contextlib
import errno
import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from loang.errors import LoangError

MODEL = "model.safetensors"
"""The one file of a run to keep."""


class Unwritable(LoangError):
    """What the system refuses when something is to be written."""


_BESIDE = re.compile(r"\.(.+)\.(\d+)(\.\w+)?")
"""What `replacing` calls a file until it is whole: the name, the process, and the suffix again."""

FILES_ONLY = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS)
"""How some network file systems refuse to flush a folder; flushed files are all that they need."""


@dataclass(frozen=True)
class Written:
    """What a file was given.

    Args:
        size: bytes.
        sha256: of them, in hexadecimal.
    """

    size: int
    sha256: str


def write(path: Path, parts: Iterable[bytes | memoryview]) -> Written:
    """A file of these bytes, one part after another, that is on the disk when this returns.

    Raises:
        OSError: the system refuses; what stands there then may be cut.
    """
    digest, size = hashlib.sha256(), 0
    handle = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666
    )
    try:
        for part in parts:
            left = memoryview(part).cast("B")
            digest.update(left)
            size += len(left)
            while len(left):  # the system may take less than it is given
                left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    return Written(size, digest.hexdigest())


def rename(source: Path, target: Path) -> None:
    """Move within a folder in one step; of two files, the target's is replaced.

    Raises:
        OSError: the system refuses; nothing has changed.
    """
    os.replace(source, target)  # noqa: PTH105 (through `os`, as all that matters here)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; what stands there in the end takes the name in one rename.

    Raises:
        LoangError: the folder can't be written, or the disk is full.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield beside
            flush(beside)
            rename(beside, path)
            flush(path.parent)
    finally:
        with contextlib.suppress(OSError):  # what went wrong is told already
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system refuses while something is written there, in a person's words."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise Unwritable(
            f"{path} can't be written: {reason}.",
            "Free some space, or name a folder that you may write to.",
        ) from error


def check_folder(folder: Path) -> None:
    """Whether files can be written in a folder, there or not; it is left as it was.

    Only trying tells: permissions, mounts and full disks all refuse in their own way.

    Raises:
        LoangError: they can't.
    """
    with writing(folder):  # a folder on the way may refuse even a look
        made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with writing(folder):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise LoangError(
                    f"{folder} can't be a folder: a file stands there, or on the way to it.",
                    "Name another folder with --out.",
                ) from None
            probe = folder / f".writable.{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
    finally:
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()


def check_file(path: Path) -> None:
    """Whether a file of that name can be written, there or not; see `check_folder`.

    Raises:
        LoangError: it can't.
    """
    check_folder(path.parent)
    if path.is_dir():
        raise LoangError(
            f"{path} can't be written: it is a folder.", "Name a file with --out, in it perhaps."
        )


def remove_leftovers(folder: Path) -> None:
    """Delete what `replacing` left half written in a folder when its process was killed."""
    import psutil

    for path in folder.glob(".*"):
        found = _BESIDE.fullmatch(path.name)
        # Without the suffix again the number may be anything: samples that are yet to come, say.
        ours = found and Path(found[1]).suffix == (found[3] or "")
        if found and ours and path.is_file() and not psutil.pid_exists(int(found[2])):
            with contextlib.suppress(OSError):
                path.unlink()


def free_space(place: Path) -> int:
    """Bytes that may still be written where that file or folder is, or would be."""
    there = next(parent for parent in (place, *place.absolute().parents) if parent.exists())
    return shutil.disk_usage(there).free


def check_space(place: Path, needed: int) -> None:
    """Whether so many bytes can be written there, as far as the system knows.

    Raises:
        Unwritable: they can't; says how many are missing.
    """
    with writing(place):
        missing = needed - free_space(place)
    if missing > 0:
        raise Unwritable(
            f"The disk of {place} is full: {amount(needed)} are to be written, and"
            f" {amount(missing)} are missing.",
            "Free some space, or name a folder on another disk with --out.",
        )


def amount(count: int) -> str:
    """Bytes, for people: 812 bytes, 34.1 MB, 1.20 GB."""
    if count >= 1e9:
        return f"{count / 1e9:,.2f} GB"
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count:,} bytes"


def shown(path: Path) -> str:
    """A path as a person would type it in a shell."""
    return shlex.quote(str(path)) if os.name != "nt" else f'"{path}"'


def flush(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    folder = path.is_dir()
    if os.name == "nt" and folder:
        return  # Windows opens no folders; its renames are journaled
    # Windows flushes only what may be written.
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not folder or error.errno not in FILES_ONLY:
            raise
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """A text file, UTF-8, whole or not at all."""
    with replacing(path) as beside:
        write(beside, [text.encode("utf-8")])


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
