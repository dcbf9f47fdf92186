"""TensorFlow's checkpoints, read without TensorFlow: strictly, and within limits.

A checkpoint `ckpt-12` is an index, `ckpt-12.index`, and its tensors' bytes, in
`ckpt-12.data-00000-of-00001` and so on. The index is a table of LevelDB's form: blocks of sorted
keys that share their beginnings, and a footer that says where they lie. Each value is a message of
protocol buffers: type, shape, place and checksum of the tensor of that name (`BundleEntryProto` in
tensorflow/core/protobuf/tensor_bundle.proto). What is not known here is refused in words.
"""

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from loang import untrusted
from loang.interop.keras.crc32c import crc32c, masked

LARGEST_INDEX = 2**24
MOST_TENSORS = 2**14
MOST_BLOCKS = 2**12
MOST_SHARDS = 2**10
LONGEST_NAME = 1024
MOST_SIDES = 8
LARGEST_TENSOR = 2**31
LARGEST_SHARD = 2**40
FOOTER = 48
MAGIC = 0xDB4775248B80FB57
TRAILER = 5  # bytes after a block: how it is packed, and its checksum
TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}
"""The types of numbers that are read, by their number in tensorflow's types.proto."""
OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""The entry that says which object each tensor belonged to; names say it as well."""


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies.

    Args:
        kind: of its numbers, as numpy calls it; "" where it holds none that are read here.
        shape: of the tensor.
        shard: number of the data file.
        offset: of its first byte there.
        size: bytes.
        checksum: as it is stored.
    """

    kind: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


class Bundle:
    """A checkpoint whose index was read and checked; its tensors are read when they are asked for.

    Args:
        prefix: the path of its files, without their endings.

    Raises:
        OSError: a file is missing, or can't be read.
        ValueError: the index is damaged, goes beyond the limits, or is of a form not known here.
    """

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        index = prefix.with_name(prefix.name + ".index")
        content = untrusted.read_bytes(index, largest=LARGEST_INDEX)
        self.shards, self.entries = 0, dict[str, Entry]()
        for number, (key, value) in enumerate(_table(content)):
            if number == 0:
                self.shards = _header(key, value)
                continue
            if number > MOST_TENSORS:
                raise ValueError(f"its index has more than {MOST_TENSORS:,} entries")
            name = key.decode("utf-8")
            self.entries[name] = self._checked(name, _entry(value))
        if not self.shards:
            raise ValueError("its index is empty")
        self._sizes = [self._size(shard) for shard in range(self.shards)]
        claimed = 0
        for name, entry in self.entries.items():
            claimed += entry.size
            if entry.offset + entry.size > self._sizes[entry.shard]:
                raise ValueError(f"{untrusted.shown(name)} lies beyond the end of its file")
        if claimed > sum(self._sizes):
            raise ValueError("its tensors overlap")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of all tensors of numbers, by name."""
        return {name: entry.shape for name, entry in self.entries.items() if entry.kind}

    def read(self, name: str) -> Shaped[np.ndarray, "..."]:
        """A tensor, its checksum compared.

        Raises:
            KeyError: there is none of that name.
            OSError: the file can't be read.
            ValueError: it is damaged, or holds no numbers.
        """
        entry = self.entries[name]
        if not entry.kind:
            raise ValueError(f"{untrusted.shown(name)} holds no numbers")
        with self._path(entry.shard).open("rb") as file:
            file.seek(entry.offset)
            content = file.read(entry.size)
        if len(content) != entry.size or masked(crc32c(content)) != entry.checksum:
            raise ValueError(f"{untrusted.shown(name)} is damaged: its checksum is another")
        return np.frombuffer(content, entry.kind).reshape(entry.shape)

    def _checked(self, name: str, entry: Entry) -> Entry:
        called = untrusted.shown(name)
        if name in self.entries:
            raise ValueError(f"its index has {called} twice")
        if entry.shard >= self.shards:
            raise ValueError(f"{called} lies in a file that is not there")
        if entry.kind:
            size = math.prod(entry.shape) * np.dtype(entry.kind).itemsize
            if size != entry.size or size > LARGEST_TENSOR:
                raise ValueError(f"{called} is announced larger or smaller than it is")
        return entry

    def _path(self, shard: int) -> Path:
        return self.prefix.with_name(f"{self.prefix.name}.data-{shard:05d}-of-{self.shards:05d}")

    def _size(self, shard: int) -> int:
        return untrusted.plain_size(self._path(shard), largest=LARGEST_SHARD)


def located(path: Path) -> Path | None:
    """The prefix of a checkpoint's files that a path means; None where it means none.

    Args:
        path: the folder of a CheckpointManager, whose newest is taken; a prefix, as `ckpt-12`; or
            one of the files.
    """
    if path.is_dir():
        return _newest(path)
    name = re.sub(r"\.(index|data-\d{5}-of-\d{5})$", "", path.name)
    prefix = path.with_name(name)
    return prefix if prefix.with_name(f"{name}.index").is_file() else None


def _newest(folder: Path) -> Path | None:
    """The one that its `checkpoint` file names, else the one of the highest number."""
    try:
        text = untrusted.read_bytes(folder / "checkpoint", largest=2**20).decode("utf-8")
        named = re.search(r'^model_checkpoint_path: "([^"\\\n]+)"$', text, re.MULTILINE)
    except (OSError, ValueError):
        named = None
    if named:  # the folder may have moved since: only the last part counts
        prefix = folder / named[1].replace("\\", "/").rpartition("/")[2]
        if prefix.with_name(f"{prefix.name}.index").is_file():
            return prefix
    found = [path.with_name(path.stem) for path in folder.glob("*.index") if path.is_file()]

    def number(prefix: Path) -> tuple[int, str]:
        digits = re.search(r"-(\d{1,18})$", prefix.name)
        return int(digits[1]) if digits else -1, prefix.name

    return max(found, key=number, default=None)


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the index, in rising order of the keys."""
    if len(content) < FOOTER or struct.unpack("<Q", content[-8:])[0] != MAGIC:
        raise ValueError("it is no index of a checkpoint, or was cut")
    footer = content[-FOOTER:-8]
    at = 0
    for _ in range(2):  # of what is beside the keys; of the list of blocks
        offset, at = _varint(footer, at)
        size, at = _varint(footer, at)
    before, read = None, size
    for number, (_, handle) in enumerate(_block(content, offset, size)):
        if number >= MOST_BLOCKS:
            raise ValueError(f"its index has more than {MOST_BLOCKS:,} blocks")
        offset, at = _varint(handle, 0)
        size, _ = _varint(handle, at)
        read += size
        if read > len(content):
            raise ValueError("its index is damaged: its blocks overlap")
        for key, value in _block(content, offset, size):
            if before is not None and key <= before:
                raise ValueError("its index is out of order")
            yield key, value
            before = key


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    end = offset + size
    if size < 4 or end + TRAILER > len(content):
        raise ValueError("its index is damaged: a block lies beyond its end")
    packed = content[end]
    if packed == 1:
        raise ValueError("its index is packed by snappy, which TensorFlow itself never does")
    if packed:
        raise ValueError("its index is packed in an unknown way")
    (checksum,) = struct.unpack("<I", content[end + 1 : end + TRAILER])
    if masked(crc32c(content[offset : end + 1])) != checksum:
        raise ValueError("its index is damaged: the checksum of a block is another")
    (restarts,) = struct.unpack("<I", content[end - 4 : end])
    block = content[offset:end]
    last = len(block) - 4 - 4 * restarts
    if last < 0:
        raise ValueError("its index is damaged: a block is too short")
    at, key = 0, b""
    while at < last:
        shared, at = _varint(block, at)
        more, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or shared + more > LONGEST_NAME or at + more + length > last:
            raise ValueError("its index is damaged: an entry does not fit its block")
        key = key[:shared] + block[at : at + more]
        yield key, block[at + more : at + more + length]
        at += more + length


def _header(key: bytes, value: bytes) -> int:
    """How many data files there are; the first entry, of the empty name, says so."""
    if key:
        raise ValueError("its index does not begin with a header")
    shards = 0
    for field, number in _fields(value):
        if field == 1 and isinstance(number, int):
            shards = number
        if field == 2 and number:
            raise ValueError("its numbers are big-endian, which is not read here")
    if not 0 < shards <= MOST_SHARDS:
        raise ValueError(f"it announces {shards:,} data files")
    return shards


def _entry(value: bytes) -> Entry:
    """A BundleEntryProto."""
    found: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    for field, content in _fields(value):
        if field == 2 and isinstance(content, bytes):
            shape = tuple(_sides(content))
        elif field == 7:
            raise ValueError("a tensor of its is kept in slices, which is not read here")
        elif isinstance(content, int):
            found[field] = content
    return Entry(
        kind=TYPES.get(found.get(1, 0), ""),
        shape=shape,
        shard=found.get(3, 0),
        offset=found.get(4, 0),
        size=found.get(5, 0),
        checksum=found.get(6, 0),
    )


def _sides(shape: bytes) -> Iterator[int]:
    """A TensorShapeProto's."""
    for count, (field, content) in enumerate(_fields(shape)):
        if field != 2 or not isinstance(content, bytes) or count >= MOST_SIDES:
            raise ValueError("a tensor of its has no shape that is known here")
        side = 0
        for inner, number in _fields(content):
            if inner == 1 and isinstance(number, int):
                side = number
        if side > LARGEST_TENSOR:
            raise ValueError("a tensor of its has a side that can't be")
        yield side


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message of protocol buffers: their numbers, and what they hold."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError("its index is damaged: a message is none")
        if at + size > len(message):
            raise ValueError("its index is damaged: a message is cut")
        content = message[at : at + size]
        yield tag >> 3, content if kind == 2 else int.from_bytes(content, "little")
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of up to 64 bits, seven in a byte; and where the next thing begins."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 2**64:
                break
            return value, at
    raise ValueError("its index is damaged: a number has no end")
