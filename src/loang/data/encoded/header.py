"""What a picture will be, known before it is decoded, and the limits that it must keep."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TypeAlias

from loang.untrusted import plain_size, shown

Encoded: TypeAlias = BytesIO | BufferedReader
"""What a picture is read from: memory or a file."""
MOST_PIXELS = 2**28 // 3
"""Of one picture, 89 million: a quarter of a gigabyte as RGB, and more than cameras give."""
MOST_BYTES = 2**29
"""Of one picture's values as they are stored: 89 million pixels of RGB, two bytes a value."""
LARGEST_FILE = 2**30
"""Bytes of one picture; some of Pillow's readers take a file into memory whole."""
LARGEST_STACK = 2**44
"""Bytes of a TIFF of many pages, of which only one is taken into memory: 16 TiB."""
TOO_LARGE = f"it announces more than {MOST_PIXELS:,} pixels"


class Unreadable(Exception):
    """Why a file is not a picture that can be used."""


@dataclass(frozen=True)
class Header:
    """What a picture will be.

    Args:
        height: pixels, the right way up.
        width: pixels, the right way up.
        channels: 1 for grey, 3 for colour, or how many a TIFF has that are neither; transparency
            is not counted.
        depth: uint8, uint16 or float32.
        transparent: whether the picture is read as RGBA, grey or colour, its last channel opacity.
    """

    height: int
    width: int
    channels: int
    depth: str
    transparent: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of what is read."""
        return self.height, self.width, 4 if self.transparent else self.channels


def check_size(height: int, width: int, value_bytes: int = 1) -> None:
    """Whether so many pixels, of so many bytes each, are few enough to be read.

    Raises:
        Unreadable: they are not, or there are none.
    """
    if height < 1 or width < 1:
        raise Unreadable("it announces no pixels")
    if height * width > MOST_PIXELS:
        raise Unreadable(TOO_LARGE)
    if height * width * value_bytes > MOST_BYTES:
        raise Unreadable(f"it announces more than {MOST_BYTES:,} bytes of values")


@contextmanager
def opened(source: Path | bytes, largest: int = LARGEST_FILE) -> Iterator[Encoded]:
    """An encoded picture to read from.

    Args:
        source: a file, or what one would hold.
        largest: bytes that it may have.

    Raises:
        Unreadable: there is none, it is too large, or whatever goes wrong with it inside the block.
    """
    try:
        if isinstance(source, bytes):
            if len(source) > largest:
                raise Unreadable(f"it has {len(source):,} bytes, more than {largest:,}")
            yield BytesIO(source)
        else:
            plain_size(source, largest=largest)
            with source.open("rb") as file:
                yield file
    except Unreadable:
        raise
    except OSError as error:
        raise Unreadable(error.strerror or shown(str(error))) from error
    except ValueError as error:
        raise Unreadable(shown(str(error))) from error
    except Exception as error:
        # A damaged file can make a decoder fail in any way; none of them is a fault of loang's.
        raise Unreadable(f"{type(error).__name__}: {shown(str(error))}") from error
