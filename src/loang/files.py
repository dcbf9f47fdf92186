"""Files that are whole or not there: written beside their place, flushed, moved in one rename."""

import contextlib
import hashlib
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from loang.errors import LoangError

MODEL = "model.safetensors"
"""The one file of a run to keep."""


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
            beside.replace(path)
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
        raise LoangError(
            f"{path} can't be written: {reason}.",
            "Free some space, or name a folder that you may write to.",
        ) from error


def check_folder(folder: Path) -> None:
    """Whether files can be written in a folder, there or not; it is left as it was.

    Only trying tells: permissions, mounts and full disks all refuse in their own way.

    Raises:
        LoangError: they can't.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".writable.{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
    finally:
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()


def shown(path: Path) -> str:
    """A path as a person would type it in a shell."""
    return shlex.quote(str(path)) if os.name != "nt" else f'"{path}"'


def flush(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders; its renames are journaled
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """A text file, UTF-8, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
