"""PNG files with 16 bits a value that are more than grey: Pillow would give 8 of them."""

import io
import struct
import zlib

import numpy as np
from jaxtyping import UInt16

from loang.data.encoded.header import Encoded, Unreadable
from loang.data.encoded.unpacking import inflate

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR, GREY_WITH_OPACITY, RGBA = 0, 2, 4, 6  # kinds of pixels (PNG, section 11.2.2)
GREYS = (GREY, GREY_WITH_OPACITY)
SAMPLES = {GREY: 1, COLOUR: 3, GREY_WITH_OPACITY: 2, RGBA: 4}
# Interlacing (section 8.2): first column and row of each pass, and the steps to the next.
PASSES = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)


def deep_kind(file: Encoded) -> int | None:
    """GREY, COLOUR, ... of a PNG of 16 bits a value, None of others; left at its start."""
    start = file.read(26)
    file.seek(0)
    deep = start[:8] == SIGNATURE and start[12:16] == b"IHDR" and start[24:25] == b"\x10"
    return start[25] if deep and len(start) == 26 else None


def read_png16(file: Encoded) -> UInt16[np.ndarray, "h w c"]:
    """The pixels: 1 channel, 3, or 4 where the file knows transparency.

    What its stream unpacks to is known from the size; it is unpacked to that and no further, and
    packed again without compression for pypng.

    Raises:
        Unreadable: it is damaged.
    """
    import png  # type: ignore[import-untyped]

    start, transparent, packed = None, None, list[bytes]()
    try:
        for name, content in png.Reader(file=file).chunks():
            if name == b"IHDR" and start is None:
                start = content
            elif name == b"tRNS" and not packed:
                transparent = content
            elif name == b"IDAT":
                packed.append(content)
        width, height, _, kind, _, _, interlaced = struct.unpack(">IIBBBBB", start or b"")
        samples = SAMPLES[kind]
        length = _unpacked(height, width, 2 * samples, interlaced)
        raw = inflate(b"".join(packed), length)
        anew = io.BytesIO()
        stored = zlib.compress(raw, 0)
        png.write_chunks(anew, [(b"IHDR", start), (b"IDAT", stored), (b"IEND", b"")])
        del raw, stored, packed
        anew.seek(0)
        pixels = np.empty((height, width * samples), np.uint16)
        for number, row in enumerate(png.Reader(file=anew).read()[2]):
            pixels[number] = row
    except (png.Error, struct.error, KeyError, EOFError) as error:
        raise Unreadable("it is a damaged PNG") from error
    pixels = pixels.reshape(height, width, samples)
    if kind == GREY_WITH_OPACITY:
        return pixels[..., [0, 0, 0, 1]]
    if transparent is None or kind == RGBA:
        return pixels
    if len(transparent) != 2 * samples:
        raise Unreadable("it is a damaged PNG")
    clear = np.frombuffer(transparent, ">u2")
    opacity = np.where((pixels == clear).all(axis=-1, keepdims=True), 0, 65535)
    colours = np.repeat(pixels, 3, axis=-1) if samples == 1 else pixels
    return np.concatenate([colours, opacity.astype(np.uint16)], axis=-1)


def _unpacked(height: int, width: int, pixel_bytes: int, interlaced: int) -> int:
    """Bytes of all rows, each with one that says how it is filtered (sections 7.2 and 9.1)."""
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, right, down in passes:
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        if columns > 0:
            total += max(rows, 0) * (1 + columns * pixel_bytes)
    return total
