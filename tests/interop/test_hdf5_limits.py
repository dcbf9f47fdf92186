"""HDF5 that is small and says that it is endless: the same bytes seen as many parts."""

import io
import struct
import tracemalloc

import numpy as np
import pytest

from loang.interop.keras.hdf5 import LONGEST_PATH, NOWHERE, Hdf5

ROOT = 96


def described(kind, content):
    """An object of one message."""
    message = struct.pack("<HHB3x", kind, len(content), 0) + content
    return struct.pack("<BBHII4x", 1, 0, 1, 1, len(message)) + message


def file_of(*parts):
    """A file whose root is the first part; the others follow, each at a multiple of eight."""
    body = b"".join(part.ljust(-(-len(part) // 8) * 8, b"\0") for part in parts)
    head = bytearray(ROOT)
    head[:8], head[13:15] = b"\x89HDF\r\n\x1a\n", b"\x08\x08"
    struct.pack_into("<QQQQ", head, 24, 0, NOWHERE, ROOT + len(body), NOWHERE)
    struct.pack_into("<QQ", head, 56, 0, ROOT)
    return bytes(head) + body


def group(tree, heap):
    return described(0x11, struct.pack("<QQ", tree, heap))


def heap_of(names, place):
    return b"HEAP" + bytes(4) + struct.pack("<QQQ", len(names), 0, place)


def tree_of(nodes):
    keys = b"".join(struct.pack("<QQ", node, 0) for node in nodes)
    return b"TREE" + struct.pack("<BBH", 0, 0, len(nodes)) + bytes(24) + keys


def refused(content, words):
    """It is refused, and what that took of memory is little."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=words):
            Hdf5.of(content)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2**24


def test_lists_of_names_that_overlap_take_no_memory():
    """Each entry of the list ends in the head of another list."""
    lists, entries = 50, 20_000
    heap = ROOT + 40
    tree = heap + 48
    first = tree + 32 + 16 * lists
    head = b"SNOD" + struct.pack("<HH", 1, entries)
    entry = struct.pack("<QQI", 0, ROOT, 0) + bytes(12) + head
    content = file_of(
        group(tree, heap),
        heap_of(bytes(16), heap + 32),
        b"ab".ljust(16, b"\0"),
        tree_of([first + 40 * number for number in range(lists)]),
        head + entry * (lists + entries),
    )
    refused(content, "circle")


def test_groups_that_share_their_names_are_not_read_again_and_again():
    groups, length = 500, 2**18
    names = b"".join(b"%07d\0" % number for number in range(groups)).ljust(length, b"\0")
    heap = ROOT + 40
    tree = heap + 32 + length
    nodes = tree + 48
    empty = nodes + 8 + 40 * groups
    inner = empty + 32 * groups
    entries = b"".join(
        struct.pack("<QQI", 8 * number, inner + 40 * number, 0) + bytes(20)
        for number in range(groups)
    )
    content = file_of(
        group(tree, heap),
        heap_of(names, heap + 32),
        names,
        tree_of([nodes]),
        b"SNOD" + struct.pack("<HH", 1, groups) + entries,
        tree_of([]) * groups,
        *(group(empty + 32 * number, heap) for number in range(groups)),
    )
    refused(content, "overlap")


def test_collections_of_texts_that_overlap_are_not_read_again_and_again():
    count = 2000
    place = ROOT + 24 + 8 + 8 + 24 + 16 + 16 * count  # heads, name, type, shape, references
    unit = struct.pack("<HHIQ", count, 1, 0, 16)
    inside = b"GCOL" + struct.pack("<BxxxQ", 1, 2**40)
    other = struct.pack("<HHIQ", 1, 1, 0, 16) + inside
    texts = b"".join(struct.pack("<IQI", 3, place + 32 * number, count) for number in range(count))
    kind = struct.pack("<BBBBI", 0x19, 1, 0, 0, 16) + bytes(16)
    shape = struct.pack("<BBBx4xQ", 1, 1, 0, count)
    attribute = struct.pack("<BxHHH", 1, 8, len(kind), len(shape)) + b"names\0\0\0" + kind + shape
    content = file_of(
        described(0x0C, attribute + texts), inside + other * count + unit + b"abc" + bytes(13)
    )
    refused(content, "overlap|too many texts")


def with_h5py(fill):
    h5py = pytest.importorskip("h5py")
    made = io.BytesIO()
    with h5py.File(made, "w") as file:
        fill(file)
    return made.getvalue()


def test_many_texts_of_one_collection_are_read():
    h5py = pytest.importorskip("h5py")
    texts = [f"text {number}" for number in range(2000)]
    content = with_h5py(
        lambda file: file.attrs.__setitem__("names", np.array(texts, h5py.string_dtype()))
    )
    assert Hdf5.of(content).texts["", "names"] == texts


def test_a_path_has_an_end():
    path = "/".join(["n" * 500] * (LONGEST_PATH // 500 + 1))
    content = with_h5py(lambda file: file.__setitem__(path, np.ones(3, np.float32)))
    refused(content, "path in its HDF5 is too long")
