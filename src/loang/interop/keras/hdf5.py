"""HDF5, as h5py writes it for Keras: read strictly, within limits, and without HDF5's C library.

That library was not made for files from strangers: one that is spoilt may end the process. What
Keras writes is a small part of the format (HDF5 File Format Specification, version 3): groups by
symbol tables, whole arrays of numbers in one piece, short attributes of text. The rest of the
format is refused in words: chunks, packing, links, and the forms that `libver="latest"` brings.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Shaped

from loang.untrusted import shown

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MOST_OBJECTS = 2**15
MOST_MESSAGES = 2**12
"""Of one object."""
MOST_TEXTS = 2**15
DEEPEST = 24
LARGEST_PART = 2**20
"""Bytes of what is no array: lists of names, descriptions of objects."""
LARGEST_PARTS = 2**25
"""Bytes of all of that: 30,000 objects, as h5py writes them, have a tenth."""
LONGEST_NAME = 512
LONGEST_PATH = 2048
MOST_SIDES = 8
NOWHERE = 2**64 - 1
DATASPACE, LINK_INFO, DATATYPE, LINK, LAYOUT, FILTERS = 0x01, 0x02, 0x03, 0x06, 0x08, 0x0B
ATTRIBUTE, CONTINUATION, SYMBOLS = 0x0C, 0x10, 0x11
_REALS = {
    2: struct.pack("<HHBBBBI", 0, 16, 10, 5, 0, 10, 15),
    4: struct.pack("<HHBBBBI", 0, 32, 23, 8, 0, 23, 127),
    8: struct.pack("<HHBBBBI", 0, 64, 52, 11, 0, 52, 1023),
}
"""How a real number of so many bytes is laid out: sign, exponent and fraction as IEEE 754 has."""


@dataclass(frozen=True)
class Array:
    """Numbers in one piece.

    Args:
        kind: as numpy calls it.
        shape: of the array.
        offset: of its first byte.
    """

    kind: str
    shape: tuple[int, ...]
    offset: int


@dataclass
class Hdf5:
    """What a file holds; all of it is checked, and arrays are views of its bytes.

    Args:
        content: of the file.
        arrays: by path: "layers/dense/vars/0".
        texts: attributes of one or more texts, by the path of their object ("" is the root) and
            their name.
    """

    content: bytes
    arrays: dict[str, Array] = field(default_factory=dict)
    texts: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, content: bytes) -> "Hdf5":
        """Look through a file's bytes.

        Raises:
            ValueError: it is damaged, goes beyond the limits, or has what is not read here.
        """
        made = cls(content)
        _Walk(made).walk()
        return made

    def read(self, path: str) -> Shaped[np.ndarray, "..."]:
        """The array of that path, a view; of which `shapes` tells all.

        Raises:
            KeyError: there is none.
        """
        array = self.arrays[path]
        count = math.prod(array.shape)
        flat = np.frombuffer(self.content, array.kind, count=count, offset=array.offset)
        return flat.reshape(array.shape)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of all arrays, by path."""
        return {path: array.shape for path, array in self.arrays.items()}


class _Walk:
    """One look through a file."""

    def __init__(self, file: Hdf5) -> None:
        self.file = file
        self.content = file.content
        self.seen = set[int]()
        self.count = 0
        self.texts = 0
        # Parts of a sound file do not overlap, so it has no more to read than its own length;
        # twice that, as texts may be shared. Else a small file could be read as an endless one.
        self.left = min(2 * len(self.content), LARGEST_PARTS)
        self.collections: dict[int, dict[int, tuple[int, int]]] = {}
        self.collected = 0

    def walk(self) -> None:
        head = self.at(0, 96)
        if not head.startswith(SIGNATURE):
            raise ValueError("it is no HDF5 file")
        if head[8] != 0 or head[13:15] != b"\x08\x08":
            raise ValueError(
                "its HDF5 is of a newer form than Keras writes: save it again without libver"
            )
        first, _, end = struct.unpack("<QQQ", head[24:48])
        if first != 0:
            raise ValueError("its HDF5 does not begin with its first byte")
        if end > len(self.content):
            raise ValueError("its HDF5 is cut")
        self.visit("", struct.unpack("<Q", head[64:72])[0], 0)

    def at(self, offset: int, size: int) -> bytes:
        """Bytes, which must be there."""
        if size > LARGEST_PART:
            raise ValueError("its HDF5 is damaged: a list in it is larger than it can be")
        if offset + size > len(self.content):
            raise ValueError("its HDF5 is cut, or damaged: something lies beyond its end")
        self.left -= size
        if self.left < 0:
            raise ValueError("its HDF5 is damaged: its parts overlap, or are too many")
        return self.content[offset : offset + size]

    def visit(self, path: str, address: int, depth: int) -> None:
        """An object, and what is in it."""
        if depth > DEEPEST:
            raise ValueError(f"its groups are nested deeper than {DEEPEST}")
        if len(path) > LONGEST_PATH:
            raise ValueError("a path in its HDF5 is too long")
        self.once(address)
        found: dict[int, bytes] = {}
        for kind, content in self.messages(address):
            if kind == ATTRIBUTE:
                self.attribute(path, content)
            elif kind in (LINK_INFO, LINK):
                raise ValueError("its groups are of a newer form than Keras writes")
            else:
                found[kind] = content
        if SYMBOLS in found:
            if len(found[SYMBOLS]) < 16:
                raise ValueError("its HDF5 is damaged: a group is cut")
            tree, heap = struct.unpack("<QQ", found[SYMBOLS][:16])
            names = self.heap(heap)
            # One at a time, so that each is counted before the next is read.
            for name, inner in self.links(tree, names, 0):
                self.visit(f"{path}/{name}" if path else name, inner, depth + 1)
        elif LAYOUT in found:
            self.array(path, found)

    def once(self, address: int) -> None:
        """Each place is looked at once: no circle, and no file that is read again and again."""
        self.count += 1
        if address in self.seen or self.count > MOST_OBJECTS:
            raise ValueError("its HDF5 leads in a circle, or has too many parts")
        self.seen.add(address)

    def messages(self, address: int) -> Iterator[tuple[int, bytes]]:
        """The messages of an object's header, of version 1: their kinds and contents."""
        version, _, _, _, size = struct.unpack("<BBHII", self.at(address, 12))
        if version != 1:
            raise ValueError("an object in its HDF5 is of a newer form than Keras writes")
        pieces, count = [(address + 16, size)], 0
        while pieces:
            start, size = pieces.pop()
            block, at = self.at(start, size), 0
            while at + 8 <= len(block):
                kind, length, flags = struct.unpack("<HHB", block[at : at + 5])
                content = block[at + 8 : at + 8 + length]
                at += 8 + length
                count += 1
                if count > MOST_MESSAGES or len(content) < length:
                    raise ValueError("its HDF5 is damaged: an object's description has no end")
                if kind == CONTINUATION and length >= 16:
                    piece = struct.unpack("<QQ", content[:16])
                    self.once(piece[0])
                    pieces.append((piece[0], piece[1]))
                elif flags & 2 and kind in (DATASPACE, DATATYPE, LAYOUT):
                    raise ValueError("its HDF5 has shared types, which Keras does not write")
                else:
                    yield kind, content

    def heap(self, address: int) -> bytes:
        """The names of a group's links."""
        head = self.at(address, 32)
        size, _, start = struct.unpack("<QQQ", head[8:])
        if head[:4] != b"HEAP":
            raise ValueError("its HDF5 is damaged: names are missing")
        return self.at(start, size)

    def links(self, address: int, names: bytes, depth: int) -> Iterator[tuple[str, int]]:
        """Names and places of what a group holds."""
        self.once(address)
        head = self.at(address, 24)
        kind, level, count = struct.unpack("<BBH", head[4:8])
        if head[:4] != b"TREE" or kind != 0 or depth > 8 or level > 8:
            raise ValueError("its HDF5 is damaged: a group has no list of its parts")
        children = self.at(address + 24, 8 + 16 * count)
        for number in range(count):
            (child,) = struct.unpack_from("<Q", children, 8 + 16 * number)
            if level:
                yield from self.links(child, names, depth + 1)
            else:
                yield from self.symbols(child, names)

    def symbols(self, address: int, names: bytes) -> Iterator[tuple[str, int]]:
        self.once(address)
        head = self.at(address, 8)
        (count,) = struct.unpack("<H", head[6:])
        if head[:4] != b"SNOD":
            raise ValueError("its HDF5 is damaged: a list of names is missing")
        entries = self.at(address + 8, 40 * count)
        for number in range(count):
            start, place, cache = struct.unpack_from("<QQI", entries, 40 * number)
            name = names[start : start + LONGEST_NAME + 1].partition(b"\0")[0]
            if cache == 2:
                raise ValueError("its HDF5 has links to other places, which Keras does not write")
            if not 0 < len(name) <= LONGEST_NAME or b"/" in name:
                raise ValueError("its HDF5 is damaged: a name is empty, or too long")
            yield name.decode("utf-8"), place

    def array(self, path: str, found: dict[int, bytes]) -> None:
        """Note an array of numbers; what is of another type is left aside."""
        called = shown(path)
        if FILTERS in found:
            raise ValueError(f"its array {called} is packed, which Keras does not do")
        layout = found[LAYOUT]
        if len(layout) < 18 or layout[0] != 3 or layout[1] != 1:
            raise ValueError(f"its array {called} is not in one piece, as Keras writes it")
        offset, size = struct.unpack("<QQ", layout[2:18])
        kind = _kind(found.get(DATATYPE, b""))
        shape = _shape(found.get(DATASPACE, b""))
        if kind is None:
            return
        if math.prod(shape) * np.dtype(kind).itemsize != size:
            raise ValueError(f"its array {called} is announced larger or smaller than it is")
        if size == 0 or offset == NOWHERE:
            raise ValueError(f"its array {called} is empty")
        if offset + size > len(self.content):
            raise ValueError(f"its array {called} lies beyond its end")
        if path in self.file.arrays:
            raise ValueError(f"it has the array {called} twice")
        self.file.arrays[path] = Array(kind, shape, offset)

    def attribute(self, path: str, content: bytes) -> None:
        """Note an attribute of texts; others are left aside."""
        if len(content) < 8:
            raise ValueError("its HDF5 is damaged: an attribute is cut")
        version, _, *sizes = struct.unpack("<BBHHH", content[:8])
        if version not in (1, 2, 3):
            return
        at, parts = 9 if version == 3 else 8, []
        for size in sizes:
            parts.append(content[at : at + size])
            at += -(-size // 8) * 8 if version == 1 else size
        name = parts[0].partition(b"\0")[0].decode("utf-8")
        kind, data = parts[1], content[at:]
        if len(kind) < 8 or kind[0] & 15 not in (3, 9):
            return
        count = math.prod(_shape(parts[2]))
        (width,) = struct.unpack("<I", kind[4:8])
        self.texts += max(count, 1)
        if self.texts > MOST_TEXTS or width == 0 or count * width > len(data):
            raise ValueError(f"its attribute {shown(name)} is larger than it can be")
        if kind[0] & 15 == 9 and (kind[1] & 15 != 1 or width != 16):
            return  # lists of another kind
        pieces = (data[n * width : (n + 1) * width] for n in range(count))
        if kind[0] & 15 == 9:
            pieces = (self.elsewhere(piece) for piece in pieces)
        self.file.texts[path, name] = [
            piece.partition(b"\0")[0].decode("utf-8") for piece in pieces
        ]

    def elsewhere(self, reference: bytes) -> bytes:
        """A text of any length, which lies in a collection of such."""
        length, place, wanted = struct.unpack("<IQI", reference)
        if length > LONGEST_NAME:
            raise ValueError("a text in its HDF5 is too long")
        if length == 0:
            return b""
        if place not in self.collections:
            self.collections[place] = self.collection(place)
        at, size = self.collections[place].get(wanted, (0, 0))
        if not at:
            raise ValueError("its HDF5 is damaged: a text is missing")
        return self.at(at, min(size, length))

    def collection(self, place: int) -> dict[int, tuple[int, int]]:
        """Where the texts of a collection begin, and how long they are, by their numbers."""
        head = self.at(place, 16)
        if head[:4] != b"GCOL":
            raise ValueError("its HDF5 is damaged: a text is missing")
        end = min(place + struct.unpack("<Q", head[8:])[0], len(self.content))
        at, found = place + 16, dict[int, tuple[int, int]]()
        while at + 16 <= end:
            number, _, _, size = struct.unpack("<HHIQ", self.at(at, 16))
            if number == 0:
                break
            self.collected += 1
            if self.collected > 2 * MOST_TEXTS:
                raise ValueError("its HDF5 has too many texts")
            found.setdefault(number, (at + 16, size))
            at += 16 + -(-size // 8) * 8
        return found


def _kind(datatype: bytes) -> str | None:
    """The type of an array's numbers, as numpy calls it; None for what is no plain number."""
    if len(datatype) < 12:
        return None
    (size,) = struct.unpack("<I", datatype[4:8])
    group, bits = datatype[0] & 15, datatype[1]
    if group == 0 and size in (1, 2, 4, 8):
        return f"{'<>'[bits & 1]}{'i' if bits & 8 else 'u'}{size}"
    if group == 1 and not bits & 0x40 and _REALS.get(size) == datatype[8:20]:
        return f"{'<>'[bits & 1]}f{size}"
    return None


def _shape(dataspace: bytes) -> tuple[int, ...]:
    if len(dataspace) < 4 or dataspace[0] not in (1, 2):
        raise ValueError("its HDF5 is damaged: something has no shape")
    sides, start = dataspace[1], 8 if dataspace[0] == 1 else 4
    if sides > MOST_SIDES or len(dataspace) < start + 8 * sides:
        raise ValueError("something in its HDF5 has too many sides")
    return struct.unpack(f"<{sides}Q", dataspace[start : start + 8 * sides])
