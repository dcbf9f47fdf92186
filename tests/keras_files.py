"""Files as TensorFlow and Keras write them: the fixtures unpacked, and checkpoints made."""

import lzma
import struct
from pathlib import Path

from loang.interop.keras.bundle import MAGIC
from loang.interop.keras.crc32c import crc32c, masked

FIXTURES = Path(__file__).parent / "fixtures" / "keras"
KINDS = {"<f4": 1, "<f8": 2, "<i4": 3, "<i8": 9}


def unpack(folder):
    """The fixtures, as the article's code left them, in a folder."""
    for packed in FIXTURES.rglob("*.xz"):
        path = folder / packed.relative_to(FIXTURES).with_suffix("")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.decompress(packed.read_bytes()))
    return folder


def varint(number):
    made = b""
    while number >= 0x80:
        made, number = made + bytes([number & 0x7F | 0x80]), number >> 7
    return made + bytes([number])


def field(number, value):
    """Of a message of protocol buffers."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def entry(array, shard, offset):
    """The message that describes a tensor."""
    content = array.tobytes()
    shape = b"".join(field(2, field(1, side)) for side in array.shape)
    message = field(1, KINDS[array.dtype.str]) + field(2, shape) + field(3, shard)
    message += field(4, offset) + field(5, len(content))
    return message + varint(6 << 3 | 5) + struct.pack("<I", masked(crc32c(content)))


def block(pairs, packed=0):
    """A block of a table, its trailer with it."""
    made = b"".join(
        varint(0) + varint(len(key)) + varint(len(value)) + key + value for key, value in pairs
    )
    made += struct.pack("<II", 0, 1) + bytes([packed])
    return made + struct.pack("<I", masked(crc32c(made)))


def table(pairs, packed=0):
    """An index, its checksums right."""
    data = block(pairs, packed)
    beside = block([])
    handle = varint(0) + varint(len(data) - 5)
    blocks = block([(pairs[-1][0] if pairs else b"", handle)])
    made = data + beside + blocks
    footer = varint(len(data)) + varint(len(beside) - 5)
    footer += varint(len(data) + len(beside)) + varint(len(blocks) - 5)
    return made + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def header(shards):
    return b"", field(1, shards) + field(3, field(1, 1))


def write_bundle(prefix, arrays, shards=1):
    """A checkpoint of these arrays; returns the pairs of its index."""
    data = [b""] * shards
    pairs = [header(shards)]
    for number, (name, array) in enumerate(sorted(arrays.items())):
        shard = number % shards
        pairs.append((name.encode(), entry(array, shard, len(data[shard]))))
        data[shard] += array.tobytes()
    for shard, content in enumerate(data):
        prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}").write_bytes(content)
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(pairs))
    return pairs
