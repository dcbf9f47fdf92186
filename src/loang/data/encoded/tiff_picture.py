"""Pages of TIFF files, at whatever depth and with whatever channels.

A page is first written anew, into memory: one directory of checked tags, and the bytes of its own
strips or tiles. Pillow or tifffile then read that, and never see what else a stranger's file holds.
"""

import io
import itertools
import logging
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageCms, UnidentifiedImageError

from loang.data.encoded import tiff_layout as tags
from loang.data.encoded.header import LARGEST_STACK, Encoded, Header, Unreadable, opened
from loang.data.encoded.tiff_directory import (
    Directory,
    Tag,
    directory_bytes,
    pages,
    read_at,
    read_directory,
)
from loang.data.encoded.tiff_layout import Layout, layout_of
from loang.data.encoded.tiff_stack import refuse_if_others_are_lost
from loang.data.encoded.tiff_values import to_picture
from loang.data.encoded.unpacking import NEEDED, has_codecs, unpack, widened
from loang.data.encoded.upright import upright

LONG = 4  # the number of its type
WHOLE_BITS = (1, 8, 16, 32, 64)  # of values that tifffile unpacks alone
# Else Python prints what tifffile logs to standard error; who asks for it still gets it.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_tiff_header(source: Path | bytes, page: int) -> Header:
    """What a page will be.

    Raises:
        Unreadable: there is no such page, or loang can't read it, or can't find others.
    """
    place = _place(source, page)
    with opened(source, LARGEST_STACK) as file:
        layout = layout_of(read_directory(file, place, tags.READ))
        if len(pages(source)) == 1:
            refuse_if_others_are_lost(file, place, layout)
        return layout.header


def read_tiff(source: Path | bytes, page: int) -> Shaped[np.ndarray, "h w c"]:
    """The pixels of a page, as its header announces them.

    Raises:
        Unreadable: the file is damaged, or holds what its depth can't.
    """
    place = _place(source, page)
    with opened(source, LARGEST_STACK) as file:
        directory = read_directory(file, place, tags.READ)
        layout = layout_of(directory)
        read = _by_pillow if layout.for_pillow else _by_tifffile
        return upright(read(file, directory, layout), layout.orientation)


def _place(source: Path | bytes, page: int) -> int:
    places = pages(source)
    if not 0 <= page < len(places):
        raise Unreadable(f"it has no page {page}, only {len(places):,}")
    return places[page]


def _by_pillow(file: Encoded, directory: Directory, layout: Layout) -> UInt8[np.ndarray, "h w c"]:
    """8 bits or fewer, of the kinds that Pillow knows."""
    header = layout.header
    mode = "RGBA" if header.transparent else "RGB" if header.channels == 3 else "L"
    compression = layout.compression
    parts = [read_at(file, *part) for part in zip(layout.offsets, layout.byte_counts, strict=True)]
    if layout.photometric == tags.YCBCR and compression == tags.NONE:
        # Pillow leaves the subsampling of colours to libtiff, which it asks if this is compressed.
        compression, parts = tags.DEFLATE, [zlib.compress(part, 1) for part in parts]
    elif compression == tags.NONE:
        parts = [unpack(part, tags.NONE, layout.bytes_of(i)) for i, part in enumerate(parts)]
    lengths = [len(part) for part in parts]
    anew = _anew(directory, layout, compression, lengths, parts, tags.FOR_DECODERS)
    try:
        image = Image.open(anew, formats=["TIFF"])
    except UnidentifiedImageError as error:
        raise Unreadable("its values lie in a way that is not read") from error
    with image:
        found: Image.Image = image
        if layout.photometric == tags.LAB:
            lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
            to_rgb = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
            found = ImageCms.applyTransform(image, to_rgb) or image
        pixels = np.array(found if found.mode == mode else found.convert(mode))
    return pixels.reshape(layout.height, layout.width, -1)


def _by_tifffile(
    file: Encoded, directory: Directory, layout: Layout
) -> Shaped[np.ndarray, "h w c"]:
    """All others; what is compressed is unpacked here, to what it must be and no more."""
    if layout.predictor == 3 and not has_codecs():
        raise Unreadable(NEEDED)
    packed = [layout.bytes_of(index) for index in range(len(layout.offsets))]
    parts = (
        unpack(read_at(file, place, count), layout.compression, length)
        for place, count, length in zip(layout.offsets, layout.byte_counts, packed, strict=True)
    )
    whole, lengths = layout, packed
    if layout.bits not in WHOLE_BITS:
        if layout.bits > 16 or layout.format != tags.UNSIGNED or layout.predictor != 1:
            raise Unreadable(f"its values of {layout.bits} bits are of an unknown kind")
        values = layout.part_width * (layout.samples if layout.planar == 1 else 1)
        parts = (widened(part, layout.bits, values, directory.order) for part in parts)
        whole = replace(layout, bits=8 if layout.bits < 8 else 16)
        lengths = [whole.bytes_of(index) for index in range(len(layout.offsets))]
    stored = _assembled(_anew(directory, whole, tags.NONE, lengths, parts, frozenset()), whole)
    return to_picture(stored, layout)


def _assembled(anew: io.BytesIO, layout: Layout) -> Shaped[np.ndarray, "h w s"]:
    """The values of a page's strips or tiles, in their places."""
    from tifffile import TiffFile

    with TiffFile(anew) as tiff:
        page = tiff.pages[0]
        if page.dtype is None:
            raise Unreadable(f"its values of {layout.bits} bits are of an unknown kind")
        planes, _, height, width, together = page.shaped
        stored = np.empty((planes, height, width, together), page.dtype)
        for part, (plane, _, top, left, _), _ in page.segments(maxworkers=1):
            assert part is not None  # parts of no bytes are refused before
            inside = part[0, : height - top, : width - left]
            rows, columns = inside.shape[:2]
            stored[plane, top : top + rows, left : left + columns] = inside
    return np.moveaxis(stored, 0, -2).reshape(layout.height, layout.width, layout.samples)


def _anew(
    directory: Directory,
    layout: Layout,
    compression: int,
    lengths: Sequence[int],
    parts: Iterable[bytes],
    others: frozenset[int],
) -> io.BytesIO:
    """A classic TIFF of one page.

    Args:
        directory: of the page.
        layout: the same, understood.
        compression: of the parts, as they are now.
        lengths: bytes of each part.
        parts: strips or tiles, in order.
        others: tags that are taken over as they are.
    """
    extra = layout.samples - tags.COLOUR_SAMPLES[layout.photometric]
    offsets, lengths_tag = (
        (tags.TILES, tags.TILE_BYTES)
        if layout.tiled
        else (
            tags.STRIPS,
            tags.STRIP_BYTES,
        )
    )
    numbers = {
        tags.WIDTH: [layout.width],
        tags.HEIGHT: [layout.height],
        tags.BITS: [layout.bits] * layout.samples,
        tags.COMPRESSION: [compression],
        tags.PHOTOMETRIC: [layout.photometric],
        tags.FILL_ORDER: [2 if layout.reversed_bits else 1],
        tags.SAMPLES: [layout.samples],
        tags.PLANAR: [layout.planar],
        tags.PREDICTOR: [layout.predictor] if layout.predictor != 1 else [],
        tags.FORMAT: [layout.format] * layout.samples,
        tags.EXTRA: [layout.opacity] + [0] * (extra - 1) if extra > 0 else [],
        offsets: [0] * len(lengths),
        lengths_tag: lengths,
        tags.TILE_WIDTH: [layout.part_width] if layout.tiled else [],
        tags.TILE_HEIGHT: [layout.part_height] if layout.tiled else [],
        tags.STRIP_ROWS: [] if layout.tiled else [layout.part_height],
    }
    order = directory.order
    kept = {tag: found for tag, found in directory.tags.items() if tag in others}

    def written() -> bytes:
        longs = {
            tag: Tag(LONG, len(values), struct.pack(f"{order}{len(values)}I", *values))
            for tag, values in numbers.items()
            if values
        }
        return directory_bytes(order, kept | longs)

    # The directory's own length tells where the parts start.
    places = itertools.accumulate(lengths, initial=len(written()))
    numbers[offsets] = list(places)[:-1]
    anew = io.BytesIO()
    anew.write(written())
    for part in parts:
        anew.write(part)
    anew.seek(0)
    return anew
