"""How many rows an Arrow file holds, and how much memory they take, told by its messages' heads.

pyarrow asks for as much memory as a compressed buffer says that it takes, so that is looked at here
first. A head is a FlatBuffer; its fields are those of Message.fbs, the format's own description.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

KINDS = {"record batch": (2,), "dictionary": (2, 1)}
"""Of messages with values: by which fields of a message their batch is reached."""


@dataclass(frozen=True)
class Batch:
    """What a message announces.

    Args:
        rows: how many; 0 for the values of a dictionary.
        unpacked: bytes of memory that are asked for; none for what is mapped as it lies.
    """

    rows: int
    unpacked: int


def read_batches(messages: Any) -> Iterator[Batch]:
    """What each message with values announces.

    Args:
        messages: pyarrow's reader of them.

    Raises:
        ValueError, struct.error: one is damaged.
    """
    for message in messages:
        if message.type not in KINDS:
            continue
        head = bytes(message.metadata)
        table: int | None = _pointed(head, 0)
        for field in KINDS[message.type]:
            place = _field(head, table, field)
            table = None if place is None else _pointed(head, place)
        if table is None:
            raise ValueError("a message of it is damaged")
        rows = _number(head, table, 0) if message.type == "record batch" else 0
        unpacked = 0
        if _field(head, table, 3) is not None:  # it is compressed
            unpacked = sum(_lengths(head, table, message.body))
        if rows < 0:
            raise ValueError(f"a batch of it announces {rows:,} rows")
        yield Batch(rows, unpacked)


def _lengths(head: bytes, table: int, body: Any) -> Iterator[int]:
    """Of each compressed buffer, how many bytes it says that it takes, at its own beginning."""
    place = _field(head, table, 2)
    if place is None:
        return
    vector = _pointed(head, place)
    (count,) = struct.unpack_from("<I", head, vector)
    for number in range(count):
        offset, length = struct.unpack_from("<qq", head, vector + 4 + 16 * number)
        if length:
            (unpacked,) = struct.unpack_from("<q", body, offset)
            yield length if unpacked == -1 else max(0, unpacked)  # -1: it is not


def _pointed(head: bytes, place: int) -> int:
    return place + int(struct.unpack_from("<I", head, place)[0])


def _field(head: bytes, table: int | None, field: int) -> int | None:
    """Where a field of a table lies, if it is there."""
    if table is None:
        return None
    vtable = table - struct.unpack_from("<i", head, table)[0]
    (size,) = struct.unpack_from("<H", head, vtable)
    if 4 + 2 * field >= size:
        return None
    (offset,) = struct.unpack_from("<H", head, vtable + 4 + 2 * field)
    return table + offset if offset else None


def _number(head: bytes, table: int, field: int) -> int:
    place = _field(head, table, field)
    return 0 if place is None else int(struct.unpack_from("<q", head, place)[0])
