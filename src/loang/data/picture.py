"""One image file: what its header says, and its pixels, the right way up."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from loang.untrusted import plain_size, shown

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"}
)
# Pillow tells a format by its content. Naming the formats keeps it from handing what only pretends
# to be a picture to the outside programs that some of its other readers start.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
GREY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})
DEEP = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})
# Bytes per entry of a palette as the file has it; 0 where it has all reds, all greens, all blues.
PALETTES = {"RGB": 3, "BGR": 3, "BGRX": 4, "RGB;L": 0}
MOST_PIXELS = 2**28 // 3
"""Of one picture, 89 million: a quarter of a gigabyte as RGB, and more than cameras give."""
LARGEST_FILE = 2**30
"""Bytes of one picture; some of Pillow's readers take a file into memory whole."""
SIDEWAYS = frozenset({5, 6, 7, 8})  # EXIF orientations that swap height and width

TOO_LARGE = f"it announces more than {MOST_PIXELS:,} pixels"


class Unreadable(Exception):
    """Why a file is not a picture that can be used."""


@dataclass(frozen=True)
class Header:
    """What a picture will be, known before it is decoded.

    Args:
        height: pixels, the right way up.
        width: pixels, the right way up.
        channels: 1 for grey, 3 for colour; transparency is not counted.
        depth: uint8 or uint16.
    """

    height: int
    width: int
    channels: int
    depth: str


def read_header(path: Path) -> Header:
    """Raises `Unreadable` for what is no picture, too large a picture, or of another depth."""
    with _opened(path) as image:
        if image.mode == "F":
            raise Unreadable("its pixels are floating-point numbers; save those as .npy")
        width, height = image.size
        # Pillow turns TIFF's size itself; and its own getexif for PNG would decode the pixels.
        exif = {} if image.format == "TIFF" else Image.Image.getexif(image)
        if exif.get(ExifTags.Base.Orientation) in SIDEWAYS:
            width, height = height, width
        depth = "uint16" if image.mode in DEEP else "uint8"
        return Header(height, width, 1 if _is_grey(image) else 3, depth)


def read_picture(path: Path) -> Shaped[np.ndarray, "h w c"]:
    """The pixels: 1 channel (grey), 3 (RGB), or 4 (RGBA) where the file knows transparency.

    The first frame of an animation. 16-bit grey is uint16, all else uint8; CMYK, palettes and
    bitmaps become RGB or grey.

    Raises:
        Unreadable: the file is damaged, or holds something else.
    """
    with _opened(path) as image:
        mode = "L" if _is_grey(image) else "RGB"
        ImageOps.exif_transpose(image, in_place=True)  # in place, as copies of large ones add up
        if image.mode in DEEP:
            values = np.asarray(image)
            if values.min() < 0 or values.max() > 65535:
                raise Unreadable("its pixels need more than 16 bits; save those as .npy")
            return values.astype(np.uint16)[..., np.newaxis]
        mode = "RGBA" if image.has_transparency_data else mode
        pixels = np.array(image if image.mode == mode else image.convert(mode))
        return pixels.reshape(*pixels.shape[:2], -1)


def _is_grey(image: Image.Image) -> bool:
    """Whether an image that is opened, but not yet decoded, is without colour."""
    if image.mode != "P" or image.palette is None:
        return image.mode in GREY
    # A GIF always has a palette, and greys are often in it alone.
    entry = PALETTES.get(image.palette.rawmode or image.palette.mode)
    if entry is None:
        return False
    colours = np.frombuffer(bytes(image.palette.palette), np.uint8)
    planes = colours.reshape(3, -1) if entry == 0 else colours.reshape(-1, entry)[:, :3].T
    return bool((planes == planes[0]).all())


def _check_file(path: Path) -> None:
    try:
        plain_size(path, largest=LARGEST_FILE)
    except ValueError as error:
        raise Unreadable(str(error)) from error


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        _check_file(path)
        with Image.open(path, formats=FORMATS) as image:
            # Pillow only warns, and its limit is a global variable; this one is ours. Nothing is
            # decoded yet: the size is what the header says.
            if math.prod(image.size) > MOST_PIXELS:
                raise Unreadable(TOO_LARGE)
            yield image
    except Unreadable:
        raise
    except UnidentifiedImageError as error:
        raise Unreadable("it is no picture of a known format") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unreadable(TOO_LARGE) from error
    except OSError as error:
        raise Unreadable(error.strerror or shown(str(error))) from error
    except Exception as error:
        # A damaged file can make a decoder fail in any way; none of them is a fault of loang's.
        raise Unreadable(f"{type(error).__name__}: {shown(str(error))}") from error
