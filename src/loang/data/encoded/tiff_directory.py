"""The directories of a TIFF file: what each page says of itself, read within limits.

TIFF 6.0 (Adobe, 1992), section 2, and BigTIFF. Nothing is decoded here, and only the tags that
loang knows are looked at.
"""

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from loang.data.encoded.header import LARGEST_STACK, Encoded, Unreadable, opened

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MOST_PAGES = 2**17
MOST_TAGS = 512
"""Of one page; files from microscopes have about a hundred."""
LONGEST_TAG = 2**21
"""Bytes of a tag's values: the places of 262,144 strips or tiles, as BigTIFF has them."""

SUBFILE, OLD_SUBFILE = 254, 255
REDUCED, MASK = 1, 4  # bits of SUBFILE
REDUCED_OF_OLD = 2
INTEGERS = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 18: "u8"}
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SIZES |= {16: 8, 17: 8, 18: 8}
"""Bytes of a value, by the number of its type."""


@dataclass(frozen=True)
class Tag:
    """The values of one tag, as the file has them.

    Args:
        kind: number of their type.
        count: how many there are.
        content: their bytes, in the file's order.
    """

    kind: int
    count: int
    content: bytes


class _Form:
    """How numbers are laid out.

    Args:
        order: "<" or ">".
        big: whether it is BigTIFF, with 64 bits where classic TIFF has 32.
    """

    def __init__(self, order: str, big: bool) -> None:
        self.order, self.big = order, big
        self.count = struct.Struct(order + ("Q" if big else "H"))  # of a directory's tags
        self.offset = struct.Struct(order + ("Q" if big else "I"))
        wide = f"{order}u{self.offset.size}"
        kinds = [("tag", f"{order}u2"), ("kind", f"{order}u2"), ("count", wide), ("value", wide)]
        self.entry = np.dtype(kinds)


@dataclass(frozen=True)
class Directory:
    """What one page says of itself.

    Args:
        order: "<" or ">", of numbers and pixels alike.
        tags: by their number.
        file_size: bytes of the whole file.
    """

    order: str
    tags: dict[int, Tag]
    file_size: int

    def numbers(self, tag: int) -> tuple[int, ...]:
        """The whole numbers of a tag; none where it is missing.

        Raises:
            Unreadable: they are of another type.
        """
        found = self.tags.get(tag)
        if found is None:
            return ()
        if found.kind not in INTEGERS:
            raise Unreadable(f"its tag {tag} holds no whole numbers")
        return tuple(np.frombuffer(found.content, self.order + INTEGERS[found.kind]).tolist())

    def number(self, tag: int, default: int) -> int:
        """The first whole number of a tag."""
        return next(iter(self.numbers(tag)), default)


def is_tiff(file: Encoded) -> bool:
    """Whether a file starts as TIFF does; it is left at its start."""
    start = file.read(4)
    file.seek(0)
    return start in STARTS


def pages(source: Path | bytes) -> tuple[int, ...]:
    """Where the directories of a TIFF's pages are: copies of reduced size and masks are no pages.

    Raises:
        Unreadable: they run in a circle, out of the file, or are too many; or there is none.
    """
    if isinstance(source, bytes):
        with opened(source, LARGEST_STACK) as file:
            return _walk(file)
    try:
        status = source.stat()
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
    return _pages_of(source, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)
def _pages_of(path: Path, *_state: int) -> tuple[int, ...]:
    """Kept, as a stack of n pages would otherwise be walked n times."""
    with opened(path, LARGEST_STACK) as file:
        return _walk(file)


def read_directory(file: Encoded, place: int, wanted: frozenset[int]) -> Directory:
    """The directory at a place, with those of the wanted tags that it has.

    Raises:
        Unreadable: it, or a value of it, lies outside the file, or is too long.
    """
    form, _ = _start(file)
    size = file.seek(0, os.SEEK_END)
    tags = dict[int, Tag]()
    entries, _ = _entries(file, form, place)
    for number, kind, count, value in entries.tolist():
        if number not in wanted or number in tags or kind not in SIZES:
            continue
        length = SIZES[kind] * count
        if length > LONGEST_TAG:
            raise Unreadable(f"its tag {number} announces {length:,} bytes")
        if length <= form.offset.size:
            content = form.offset.pack(value)[:length]
        else:
            content = read_at(file, value, length)
        tags[number] = Tag(kind, count, content)
    return Directory(form.order, tags, size)


def read_at(file: Encoded, place: int, length: int) -> bytes:
    """Bytes that must be there.

    Raises:
        Unreadable: the file is shorter.
    """
    content = b""
    if place < LARGEST_STACK:
        file.seek(place)
        content = file.read(length)
    if len(content) < length:
        raise Unreadable("it is cut, or damaged: what it points to lies outside of it")
    return content


def directory_bytes(order: str, tags: Mapping[int, Tag]) -> bytes:
    """A classic TIFF file of one directory, up to where its strips or tiles start."""
    inline, after = b"", b""
    end = 8 + 2 + 12 * len(tags) + 4
    for number, tag in sorted(tags.items()):
        inline += struct.pack(order + "HHI", number, tag.kind, tag.count)
        if len(tag.content) <= 4:
            inline += tag.content.ljust(4, b"\0")
        else:
            inline += struct.pack(order + "I", end + len(after))
            after += tag.content + b"\0" * (len(tag.content) % 2)
    start = STARTS[0] if order == "<" else STARTS[1]
    head = start + struct.pack(order + "IH", 8, len(tags))
    return head + inline + struct.pack(order + "I", 0) + after


def _walk(file: Encoded) -> tuple[int, ...]:
    form, place = _start(file)
    seen, found = set[int](), list[int]()
    while place:
        if place in seen:
            raise Unreadable("its pages follow one another in a circle")
        if len(seen) >= MOST_PAGES:
            raise Unreadable(f"it has more than {MOST_PAGES:,} pages")
        seen.add(place)
        entries, following = _entries(file, form, place)
        if not _is_part(entries, form):
            found.append(place)
        place = following
    if not found:
        raise Unreadable("it holds no image, or only reduced copies of one")
    return tuple(found)


def _is_part(entries: Shaped[np.ndarray, " n"], form: _Form) -> bool:
    """Whether a directory is a copy of reduced size, or a mask, of another."""
    for row in np.flatnonzero((entries["tag"] == SUBFILE) | (entries["tag"] == OLD_SUBFILE)):
        tag, kind, _, value = entries[row].tolist()
        if form.order == ">":  # a short value stands at the field's first bytes
            value >>= 8 * (form.offset.size - SIZES.get(kind, 4))
        if value & (REDUCED | MASK) if tag == SUBFILE else value & 0xFFFF == REDUCED_OF_OLD:
            return True
    return False


def _start(file: Encoded) -> tuple[_Form, int]:
    """How the file's numbers are laid out, and where its first directory is."""
    start = read_at(file, 0, 8)
    form = _Form("<" if start[:2] == b"II" else ">", start[:4] in STARTS[2:])
    if form.big:
        if struct.unpack(form.order + "HH", start[4:]) != (8, 0):
            raise Unreadable("it is no BigTIFF that is known")
        return form, form.offset.unpack(read_at(file, 8, 8))[0]
    return form, form.offset.unpack(start[4:])[0]


def _entries(file: Encoded, form: _Form, place: int) -> tuple[Shaped[np.ndarray, " n"], int]:
    """The tags of a directory, and where the next one is."""
    head = form.count.size
    count = form.count.unpack(read_at(file, place, head))[0]
    if not 0 < count <= MOST_TAGS:
        raise Unreadable(f"a page of it announces {count:,} tags")
    length = count * form.entry.itemsize
    entries = np.frombuffer(read_at(file, place + head, length), form.entry)
    rest = file.read(form.offset.size)
    # Some writers leave the last link out.
    return entries, form.offset.unpack(rest)[0] if len(rest) == form.offset.size else 0
