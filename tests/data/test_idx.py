import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from loang.data.places.idx import read_idx
from loang.errors import LoangError

VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def encode(values: np.ndarray, kind: int = 8) -> bytes:
    header = bytes([0, 0, kind, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.tobytes()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_reads_what_was_written(tmp_path: Path, pack) -> None:
    path = tmp_path / "values"
    path.write_bytes(pack(encode(VALUES)))
    assert np.array_equal(read_idx(path), VALUES)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x1f\x8b",
        b"not an IDX file at all",
        encode(VALUES)[:3],
        encode(VALUES)[:9],
        encode(VALUES)[:-1],
        encode(VALUES) + b"\0",
        encode(VALUES, kind=0x0D),
        b"\0\0\x08\0",
        b"\0\0\x08\x03" + b"\xff" * 12,
        gzip.compress(encode(VALUES), mtime=0)[:-9],
        gzip.compress(encode(VALUES), mtime=0)[:-4] + b"\0\0\0\0",
        gzip.compress(encode(VALUES), mtime=0)[:12] + b"\xff" * 30,
    ],
)
def test_names_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.gz"
    path.write_bytes(content)
    with pytest.raises(LoangError, match=r"damaged\.gz"):
        read_idx(path)


def test_names_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(LoangError, match=path.name):
            read_idx(path)


@pytest.mark.parametrize("announced", [24, 2**31])
def test_neither_a_header_nor_packed_zeros_decide_how_much_memory_is_taken(
    tmp_path: Path, announced: int
) -> None:
    path = tmp_path / "bomb.gz"
    head = b"\0\0\x08\x01" + struct.pack(">I", announced)
    path.write_bytes(gzip.compress(head + bytes(2**27), 9))
    assert path.stat().st_size < 2**18
    tracemalloc.start()
    with pytest.raises(LoangError, match="announces"):
        read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
