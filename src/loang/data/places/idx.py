"""IDX files, the format of MNIST and its kin, gzipped or not."""

import gzip
import math
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import UInt8

from loang.errors import LoangError

GZIP = b"\x1f\x8b"
UNSIGNED_BYTE = 0x08
LARGEST = 2**30
"""Bytes of all values; those of Fashion-MNIST's largest file are 47 million."""
PIECE = 2**20


def read_idx(path: Path) -> UInt8[np.ndarray, "..."]:
    """The array of unsigned bytes in an IDX file; read-only.

    Args:
        path: the file; whether it is gzipped is told by its first bytes, not by its name.

    Raises:
        LoangError: the file cannot be read, is damaged, cut short, or holds something else.
    """
    remedy = "Download the file again, or replace it by an undamaged copy."
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP
        with gzip.open(path) if packed else path.open("rb") as file:
            shape = _read_shape(file)
            content = _read_bytes(file, math.prod(shape))
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise LoangError(f"{path} is not a sound IDX file: {error}.", remedy) from error
    except OSError as error:
        raise LoangError(f"{path} cannot be read: {error.strerror or error}.", remedy) from error
    if len(content) != math.prod(shape):
        more = "more" if len(content) > math.prod(shape) else f"{len(content):,}"
        raise LoangError(f"{path} announces {math.prod(shape):,} bytes but holds {more}.", remedy)
    values = np.frombuffer(content, np.uint8).reshape(shape)
    values.flags.writeable = False
    return values


def _read_bytes(file: gzip.GzipFile | IO[bytes], announced: int) -> bytearray:
    """As many as are announced, and one more where there are more.

    Piece by piece, so that neither a header decides how much memory is asked for, nor a few
    kilobytes of gzip how much is filled.
    """
    if announced > LARGEST:
        raise ValueError(f"it announces {announced:,} bytes, more than {LARGEST:,}")
    content = bytearray()
    while len(content) <= announced:
        piece = file.read(min(PIECE, announced + 1 - len(content)))
        if not piece:
            break
        content += piece
    return content


def _read_shape(file: gzip.GzipFile | IO[bytes]) -> tuple[int, ...]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or not 1 <= magic[3] <= 4:
        raise ValueError("it does not begin as one")
    if magic[2] != UNSIGNED_BYTE:
        raise ValueError(f"its values are of type 0x{magic[2]:02x}, not unsigned bytes (0x08)")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError("it ends within its header")
    return tuple(np.frombuffer(sizes, ">u4").tolist())
