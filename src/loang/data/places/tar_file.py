"""The files within a tar file: where each begins, told by the headers alone."""

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from loang.data.encoded.header import Unreadable
from loang.errors import LoangError
from loang.untrusted import shown

LARGEST_HEADER = 2**16
"""Bytes of what describes one member: a long name, or attributes of another system."""
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


@dataclass(frozen=True)
class Member:
    """One file within a tar file.

    Args:
        archive: the tar file.
        name: with `/`.
        start: where its bytes begin.
        size: in bytes.
    """

    archive: Path
    name: str
    start: int
    size: int

    @property
    def key(self) -> str:
        """What files of one sample have in common: all before the first point of its name."""
        folder, slash, name = self.name.rpartition("/")
        return folder + slash + name.partition(".")[0]

    @property
    def extension(self) -> str:
        """All after that point."""
        return self.name.rpartition("/")[2].partition(".")[2].lower()

    def content(self, largest: int) -> bytes:
        """Its bytes; each call opens the tar file anew, so any thread may read.

        Raises:
            Unreadable: there are more than `largest`, or fewer than were announced.
        """
        if self.size > largest:
            raise Unreadable(f"it has {self.size:,} bytes, more than {largest:,}")
        try:
            with self.archive.open("rb") as file:
                file.seek(self.start)
                content = file.read(self.size)
        except OSError as error:
            raise Unreadable(error.strerror or str(error)) from error
        if len(content) != self.size:
            raise Unreadable("the tar file has become shorter")
        return content


def list_members(path: Path) -> tuple[list[Member], list[str]]:
    """The plain files in a tar file, in order; and the names of what can't be used.

    That are links, devices, and files that would lie outside. Folders, and what is hidden, are no
    more looked for than in a folder of images.

    Raises:
        LoangError: it is damaged, cut short or compressed, or no tar file.
    """
    if path.name.lower().endswith(PACKED):
        raise LoangError(
            f"{path} is compressed, so that no image in it can be read without all before it.",
            f"Unpack it to a .tar file, for instance with gunzip {path.name}, and name that.",
        )
    try:
        size = path.stat().st_size
        with (
            path.open("rb") as file,
            tarfile.open(fileobj=_Careful(file, size), mode="r:") as archive,
        ):
            members, odd = list[Member](), list[str]()
            for member in archive:
                if member.isdir() or _is_hidden(member):
                    continue
                if _is_usable(member):
                    name = str(PurePosixPath(member.name))
                    members.append(Member(path, name, member.offset_data, member.size))
                else:
                    odd.append(member.name)
            _require_end(file, archive.offset)
        if any(member.size < 0 or member.start + member.size > size for member in members):
            raise tarfile.ReadError("it ends within a file that it holds")
    except OSError as error:
        raise LoangError(
            f"{path} cannot be read: {error.strerror or error}.", "Name a tar file that can be."
        ) from error
    except Exception as error:
        # A damaged header can make tarfile fail in any way.
        raise LoangError(
            f"{path} is no sound tar file: {shown(str(error) or type(error).__name__, 200)}.",
            "Download or pack it again.",
        ) from error
    return members, odd


class _Careful(io.BufferedIOBase):
    """A file of which little is read at once, as a header announces how long its name is."""

    def __init__(self, file: Any, size: int) -> None:
        self.file = file
        self.size = size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= LARGEST_HEADER:
            raise tarfile.ReadError(f"a header in it is longer than {LARGEST_HEADER:,} bytes")
        return self.file.read(size)

    def seek(self, place: int, whence: int = 0, /) -> int:
        if place > self.size:
            raise tarfile.ReadError("it ends within a file that it holds")
        return self.file.seek(place, whence)

    def tell(self) -> int:
        return self.file.tell()


def _require_end(file: Any, place: int) -> None:
    """tarfile takes a damaged header for the end; the end is nothing, or zeros."""
    file.seek(place)
    if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"its header at byte {place:,} is damaged")


def _is_hidden(member: tarfile.TarInfo) -> bool:
    parts = PurePosixPath(member.name).parts
    return any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in parts)


def _is_usable(member: tarfile.TarInfo) -> bool:
    """Whether it is a plain file, within the archive."""
    parts = PurePosixPath(member.name).parts
    outside = not parts or parts[0].startswith("/") or ".." in parts
    return member.isreg() and not member.issparse() and not outside
