"""Numpy's array files, `.npy` and `.npz`: what they announce is looked at before they are read.

No pickled object is ever loaded. A few kilobytes of an `.npz` can hold gigabytes of zeros.
"""

import io
import math
import struct
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Shaped

from loang import zipped
from loang.data.memory import require_bytes

LARGEST_HEADER = 10_000
"""Bytes; numpy writes 128, parses no more than these, and would read 4 GB to say so."""
LARGEST_LIST = 2**20
"""Bytes: 10,000 arrays in an `.npz`, each with its place and name."""
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""As numpy packs; the other methods can ask for gigabytes before they unpack a byte."""
_LENGTHS = {
    (1, 0): "<H",
    (2, 0): "<I",
    (3, 0): "<I",
}  # by version: the number of the header's bytes


def map_npy(path: Path) -> Shaped[np.ndarray, "..."]:
    """The array of an `.npy` file, through a memory map.

    Raises:
        OSError: the file can't be read.
        Exception: of any kind that numpy raises for a damaged file.
    """
    with path.open("rb") as file:
        announced(file)
    return np.lib.format.open_memmap(path, mode="r")


def read_npz(path: Path, wanted: Collection[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The wanted arrays of an `.npz` file, and the names of all.

    Raises:
        LoangError: they do not fit in memory.
        OSError: the file can't be read.
        Exception: of any kind that numpy and zipfile raise for a damaged file.
    """
    with zipped.opened(path, most=LARGEST_LIST) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        chosen = {name: info for name, info in members.items() if name in wanted}
        sizes = 0
        for name, info in chosen.items():
            if info.compress_type not in PACKED:
                raise ValueError(f"{name} is packed in a way that numpy does not use")
            with archive.open(info) as file:
                size = announced(file)
            if size > info.file_size:
                raise ValueError(f"{name} is cut short")
            sizes += size
        require_bytes(sizes, str(path))
        arrays = {}
        for name, info in chosen.items():
            with archive.open(info) as file:
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
        return arrays, list(members)


def announced(file: IO[bytes] | io.BufferedIOBase) -> int:
    """How many bytes the array takes whose header stands at the file's place.

    Raises:
        ValueError: it is no header, too long a one, or announces objects.
    """
    magic = file.read(np.lib.format.MAGIC_LEN)
    kind = _LENGTHS.get(np.lib.format.read_magic(io.BytesIO(magic)))
    if kind is None:
        raise ValueError("its header is of an unknown version")
    length = file.read(struct.calcsize(kind))
    if len(length) < struct.calcsize(kind):
        raise ValueError("it ends within its header")
    (size,) = struct.unpack(kind, length)
    if size > LARGEST_HEADER:
        raise ValueError(f"its header has {size:,} bytes, more than {LARGEST_HEADER:,}")
    header = io.BytesIO(length + file.read(size))
    if kind == "<H":
        shape, _, dtype = np.lib.format.read_array_header_1_0(header)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(header)
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError("it announces objects, not numbers, or an impossible shape")
    return math.prod(shape) * dtype.itemsize
