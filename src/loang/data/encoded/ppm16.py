"""PPM files of colours with more than 8 bits: Pillow would give 8 of them."""

import re

import numpy as np
from jaxtyping import UInt16

from loang.data.encoded.header import Encoded, Unreadable

LONGEST_START = 2**16
"""Bytes of what stands before the pixels, comments included."""
GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
START = re.compile(rb"P([36])" + 3 * (GAP + rb"(\d{1,9})") + rb"\s")


def is_deep(file: Encoded) -> bool:
    """Whether a file starts as such a PPM does; it is left at its start."""
    start = file.read(LONGEST_START)
    file.seek(0)
    found = START.match(start)
    return found is not None and int(found[4]) > 255


def read_ppm16(file: Encoded) -> UInt16[np.ndarray, "h w 3"]:
    """The colours, stretched to 0..65535 as Pillow stretches greys.

    Raises:
        Unreadable: it is damaged, or written in digits.
    """
    found = START.match(file.read(LONGEST_START))
    if found is None or found[1] == b"3":
        raise Unreadable("its colours of more than 8 bits are written as text; save it as P6")
    width, height, most = (int(found[place]) for place in (2, 3, 4))
    if most > 65535:
        raise Unreadable("its values need more than 16 bits")
    file.seek(found.end())
    content = file.read(6 * height * width)
    if len(content) < 6 * height * width:
        raise Unreadable("it is cut: pixels are missing")
    stored = np.frombuffer(content, ">u2").reshape(height, width, 3)
    if most == 65535:
        return stored.astype(np.uint16)
    whole = (stored.astype(np.uint32) * 65535 + most // 2) // most
    return np.minimum(whole, 65535).astype(np.uint16)
