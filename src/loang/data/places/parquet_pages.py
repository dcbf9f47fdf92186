"""How large the pages of a Parquet file are, told before pyarrow asks for memory for them.

pyarrow believes what the head of a page says of its size, and reads a page as a whole. So the heads
are looked at here first. They are structs of Thrift's compact protocol; their fields are those of
parquet.thrift, the format's own description.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAGIC = b"PAR1"
LARGEST_PAGE = 2**29
"""Bytes of a page once it is unpacked; writers mostly aim at one megabyte."""
MOST_VALUES = 2**28
"""Of a page: pixels in lists of numbers, else pictures."""
LARGEST_FOOTER = 2**26
LARGEST_HEAD = 2**16  # bytes of a page's head; it may repeat the least and the greatest value
HEAD = 2**10  # bytes that hold nearly all of them
DEEPEST = 16  # structs within structs


@dataclass(frozen=True)
class Chunk:
    """One column of one row group.

    Args:
        column: the first of the names that lead to its values.
        start: where its pages begin in the file.
        size: of all its pages, in bytes.
        values: how many there are.
    """

    column: str
    start: int
    size: int
    values: int


def read_chunks(file: Any, size: int) -> list[list[Chunk]]:
    """The columns of each row group, from a file's end.

    Raises:
        ValueError: it is damaged, or larger than the limits.
    """
    file.seek(max(0, size - 8))
    end = file.read(8)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != MAGIC or not 0 < length <= min(size - 12, LARGEST_FOOTER):
        raise ValueError("it does not end as a Parquet file")
    file.seek(size - 8 - length)
    footer, _ = _Struct(file.read(length)).read()
    try:
        return [[_chunk(column[3]) for column in group[1]] for group in footer[4]]
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError("its row groups are damaged") from error


def check_pages(file: Any, size: int, chunk: Chunk) -> int:
    """The bytes of all pages of a column once they are unpacked.

    Raises:
        ValueError: a page is damaged, or larger than the limits.
    """
    if not 0 < chunk.start <= chunk.start + chunk.size <= size:
        raise ValueError("a column of it lies outside of it")
    unpacked, seen = 0, 0
    for head in _heads(file, chunk):
        data = head.get(5) or head.get(8)
        about = data or head.get(7) or {}
        values = about.get(1, 0) if isinstance(about, dict) else 0
        if not 0 <= head[2] <= LARGEST_PAGE or not 0 <= values <= MOST_VALUES:
            raise ValueError(f"a page of it announces {head[2]:,} bytes and {values:,} values")
        unpacked += head[2]
        seen += values if data else 0
        if seen >= chunk.values:
            break
    return unpacked


def _heads(file: Any, chunk: Chunk) -> Iterator[dict[int, Any]]:
    """The heads of its pages, one after the other."""
    at, end = chunk.start, chunk.start + chunk.size
    while at < end:
        for length in (HEAD, LARGEST_HEAD):
            file.seek(at)
            piece = file.read(min(length, end - at))
            try:
                head, used = _Struct(piece).read()
                break
            except ValueError:
                if len(piece) < length or length == LARGEST_HEAD:
                    raise
        sizes = head.get(2), head.get(3)
        if not all(isinstance(each, int) for each in sizes) or not 0 <= head[3] <= end - at - used:
            raise ValueError("a page of it is damaged")
        yield head
        at += used + head[3]


def _chunk(about: dict[int, Any]) -> Chunk:
    starts = [about[field] for field in (9, 11) if about.get(field)]
    return Chunk(about[3][0].decode(), min(starts), about[7], about[5])


class _Struct:
    """Reads one struct of Thrift's compact protocol: each field's value by its number.

    Args:
        content: begins with the struct. No value takes less than a byte of it.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def read(self) -> tuple[dict[int, Any], int]:
        """The struct, and how many bytes it takes.

        Raises:
            ValueError: it is damaged.
        """
        try:
            return self._struct(0), self.at
        except IndexError as error:
            raise ValueError("it ends too early") from error

    def _struct(self, depth: int) -> dict[int, Any]:
        if depth > DEEPEST:
            raise ValueError("it is nested too deep")
        fields, number = dict[int, Any](), 0
        while True:
            head = self._byte()
            if head == 0:
                return fields
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)

    def _value(self, kind: int, depth: int) -> Any:
        match kind:
            case 1 | 2 | 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._integer()
            case 7:
                return self._bytes(8)
            case 8:
                return self._bytes(self._varint())
            case 9 | 10:
                head = self._byte()
                length = head >> 4 if head >> 4 < 15 else self._varint()
                if length > len(self.content) - self.at:
                    raise ValueError("a list of it is longer than itself")
                return [self._value(head & 15, depth + 1) for _ in range(length)]
            case 12:
                return self._struct(depth + 1)
        raise ValueError(f"a field of it is of an unknown type {kind}")

    def _byte(self) -> int:
        self.at += 1
        return self.content[self.at - 1]

    def _bytes(self, length: int) -> bytes:
        if length > len(self.content) - self.at:
            raise ValueError("a text of it is longer than itself")
        self.at += length
        return self.content[self.at - length : self.at]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number of it is too long")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
