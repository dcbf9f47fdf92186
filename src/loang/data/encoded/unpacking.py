"""Compressed bytes unpacked to a length that is known before; never to more."""

import importlib
import importlib.util
import lzma
import zlib

import numpy as np

from loang.data.encoded.header import Unreadable
from loang.data.encoded.tiff_layout import DEFLATE, LZMA, LZW, NONE, PACKBITS, ZSTD

MEMORY = 2**28
"""Bytes that an LZMA dictionary may take; the strongest preset of xz takes a quarter."""
NEEDED = 'it needs more decoders than are installed: pip install "loang[tiff]"'


def has_codecs() -> bool:
    """Whether imagecodecs is installed."""
    return importlib.util.find_spec("imagecodecs") is not None


def inflate(content: bytes, length: int) -> bytes:
    """The first bytes of a zlib stream.

    Raises:
        Unreadable: it is damaged, or holds fewer.
    """
    try:
        found = zlib.decompressobj().decompress(content, length)
    except zlib.error as error:
        raise Unreadable("its compressed values are damaged") from error
    return _whole(found, length)


def unpack(content: bytes, compression: int, length: int) -> bytes:
    """The first bytes of what a strip or tile holds.

    Args:
        content: of the strip or tile.
        compression: number of TIFF's for it.
        length: bytes that are wanted; 1 or more.

    Raises:
        Unreadable: it is damaged, holds fewer, or imagecodecs is missing.
    """
    if compression == NONE:
        return _whole(content[:length], length)
    if compression == DEFLATE:
        return inflate(content, length)
    try:
        if compression == LZMA:
            found = lzma.LZMADecompressor(memlimit=MEMORY).decompress(content, length)
        else:
            found = _by_imagecodecs(content, compression, length)
    except (lzma.LZMAError, EOFError, RuntimeError, ValueError) as error:
        raise Unreadable("its compressed values are damaged") from error
    return _whole(found, length)


def widened(content: bytes, bits: int, values: int, order: str) -> bytes:
    """Values of 2 to 15 bits, packed row by row, as whole bytes: one each up to 8 bits, else two.

    Args:
        content: rows, each from a new byte on, the highest bit of a value first.
        bits: of a value.
        values: of a row.
        order: `<` or `>`, of the bytes of what is returned.
    """
    row = -(-values * bits // 8)
    rows = np.frombuffer(content, np.uint8).reshape(-1, row)
    each = np.unpackbits(rows, axis=1)[:, : values * bits].reshape(-1, values, bits)
    found = np.zeros(each.shape[:2], np.uint16)
    for place in range(bits):
        found = (found << 1) | each[..., place]
    return found.astype(np.uint8 if bits < 8 else f"{order}u2").tobytes()


def _by_imagecodecs(content: bytes, compression: int, length: int) -> bytes:
    if not has_codecs():
        raise Unreadable(NEEDED)
    imagecodecs = importlib.import_module("imagecodecs")  # an extra
    decode = {
        LZW: imagecodecs.lzw_decode,
        PACKBITS: imagecodecs.packbits_decode,
        ZSTD: imagecodecs.zstd_decode,
    }[compression]
    return bytes(decode(content, out=length))


def _whole(found: bytes, length: int) -> bytes:
    if len(found) < length:
        raise Unreadable("it is cut, or damaged: values are missing")
    return found[:length] if len(found) > length else found
