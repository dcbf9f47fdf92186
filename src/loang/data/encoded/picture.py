"""One picture, a file or its bytes: what its header says, and its pixels, the right way up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt16
from PIL import ExifTags, Image, UnidentifiedImageError

from loang.data.encoded import png16, ppm16
from loang.data.encoded.header import (
    LARGEST_FILE,
    LARGEST_STACK,
    MOST_PIXELS,
    TOO_LARGE,
    Encoded,
    Header,
    Unreadable,
    check_size,
    opened,
)
from loang.data.encoded.tiff_directory import is_tiff, pages
from loang.data.encoded.tiff_picture import read_tiff, read_tiff_header
from loang.data.encoded.tiff_values import as_float32
from loang.data.encoded.upright import upright, upright_size

__all__ = [
    "LARGEST_FILE",
    "MOST_PIXELS",
    "SUFFIXES",
    "TOO_LARGE",
    "Header",
    "Unreadable",
    "count_pages",
    "read_header",
    "read_picture",
]

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"}
)
# Pillow tells a format by its content. Naming the formats keeps it from handing what only pretends
# to be a picture to the outside programs that some of its other readers start.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM")
GREY = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
DEEP = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})
# Bytes per entry of a palette as the file has it.
PALETTES = {"RGB": 3, "BGR": 3, "BGRX": 4}


def read_header(source: Path | bytes, page: int = 0) -> Header:
    """What a picture will be; nothing is decoded.

    Args:
        source: a file, or what one would hold.
        page: of a TIFF, counted as `count_pages` does; 0 for all others.

    Raises:
        Unreadable: it is no picture, too large, of a kind that is not read, or has no such page.
    """
    if _is_tiff(source):
        return read_tiff_header(source, page)
    with _opened(source, page) as picture:
        return picture.header()


def read_picture(source: Path | bytes, page: int = 0) -> Shaped[np.ndarray, "h w c"]:
    """The pixels: exactly what `read_header` announces.

    1 channel is grey, 3 are RGB, and 4 RGBA where the header calls it transparent; any other
    number are a TIFF's own. Of an animation the first frame. CMYK, YCbCr, L*a*b*, palettes and
    bitmaps become RGB or grey, and what has its white at zero is turned about. See `tiff_layout`
    for the depths of TIFFs; other 16-bit files are uint16, all else uint8.

    Args:
        source: a file, or what one would hold.
        page: of a TIFF, counted as `count_pages` does; 0 for all others.

    Raises:
        Unreadable: as for `read_header`; or it is damaged, or has values that are not finite or
            that its depth can't hold.
    """
    if _is_tiff(source):
        header, pixels = read_tiff_header(source, page), read_tiff(source, page)
    else:
        with _opened(source, page) as picture:
            header = picture.header()
            pixels = upright(picture.pixels(), picture.orientation)
    if (*pixels.shape, pixels.dtype.name) != (*header.shape, header.depth):
        raise Unreadable("its pixels are not what its header announces")
    return pixels


def count_pages(source: Path | bytes) -> int:
    """How many images a file holds: of a TIFF its pages, of all others 1.

    Copies of reduced size and masks are no pages.

    Raises:
        Unreadable: there is no such file; or a TIFF's pages run in a circle or out of the file, are
            too many, or none.
    """
    return len(pages(source)) if _is_tiff(source) else 1


@dataclass(frozen=True)
class _Picture:
    """A file that is opened, but not yet decoded.

    Args:
        file: what it is read from.
        image: the same, as Pillow sees it.
        deep: what reads its pixels in Pillow's place, to 16 bits; None where Pillow does.
        grey: whether it has no colours.
        orientation: as in EXIF.
    """

    file: Encoded
    image: Image.Image
    deep: Callable[[Encoded], UInt16[np.ndarray, "h w c"]] | None
    grey: bool
    orientation: object

    def header(self) -> Header:
        """What `pixels` will be, once they are upright."""
        image = self.image
        height, width = upright_size(image.height, image.width, self.orientation)
        depth = "uint16" if self.deep or image.mode in DEEP else "uint8"
        depth = "float32" if image.mode == "F" else depth
        channels = 1 if self.grey else 3
        header = Header(height, width, channels, depth, image.has_transparency_data)
        check_size(height, width, header.shape[2] * np.dtype(depth).itemsize)
        return header

    def pixels(self) -> Shaped[np.ndarray, "h w c"]:
        """As they are stored."""
        image, header = self.image, self.header()
        if self.deep:
            self.file.seek(0)
            return self.deep(self.file)
        if header.depth == "float32":
            return as_float32(np.array(image))[..., np.newaxis]
        if header.depth == "uint16":
            values = np.asarray(image)
            if values.min() < 0 or values.max() > 65535:
                raise Unreadable("its values need more than 16 bits")
            return values.astype(np.uint16)[..., np.newaxis]
        mode = "RGBA" if header.transparent else "L" if header.channels == 1 else "RGB"
        pixels = np.array(image if image.mode == mode else image.convert(mode))
        return pixels.reshape(*pixels.shape[:2], -1)


def _is_tiff(source: Path | bytes) -> bool:
    with opened(source, LARGEST_STACK) as file:
        return is_tiff(file)


@contextmanager
def _opened(source: Path | bytes, page: int) -> Iterator[_Picture]:
    with opened(source) as file:
        if page != 0:
            raise Unreadable(f"it has no page {page}, as only TIFF has pages")
        deep_png, deep_ppm = png16.deep_kind(file), ppm16.is_deep(file)
        try:
            image = Image.open(file, formats=FORMATS)
        except UnidentifiedImageError as error:
            raise Unreadable("it is no picture of a known format") from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise Unreadable(TOO_LARGE) from error
        with image:
            # Pillow only warns, and its limit is a global variable; this one is ours. Nothing is
            # decoded yet: the size is what the header says.
            check_size(image.height, image.width)
            deep, grey = None, _is_grey(image)
            if deep_png is not None and (deep_png or image.has_transparency_data):
                # Pillow keeps 16 bits of grey alone.
                deep, grey = png16.read_png16, deep_png in png16.GREYS
            elif deep_ppm:
                deep = ppm16.read_ppm16
            # PNG's own getexif would decode the pixels.
            orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
            yield _Picture(file, image, deep, grey, orientation)


def _is_grey(image: Image.Image) -> bool:
    """Whether an image that is opened, but not yet decoded, is without colour."""
    if image.mode != "P" or image.palette is None:
        return image.mode in GREY
    # A GIF always has a palette, and greys are often in it alone.
    entry = PALETTES.get(image.palette.rawmode or image.palette.mode)
    if entry is None:
        return False
    colours = np.frombuffer(bytes(image.palette.palette), np.uint8)
    planes = colours.reshape(-1, entry)[:, :3].T
    return bool((planes == planes[0]).all())
