"""What a page of a TIFF file is, and how its pixels lie there: told by its directory alone.

The depth follows from how values are stored, by one rule. Unsigned whole numbers of up to 8 bits
become uint8 (fewer bits are stretched to 0..255, as everywhere); of up to 16 bits uint16, as they
are, so that 12 bits run from 0 to 4095; all others, longer or signed, and real numbers become
float32.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from loang.data.encoded.header import LARGEST_FILE, MOST_BYTES, Header, Unreadable, check_size
from loang.data.encoded.tiff_directory import Directory
from loang.data.encoded.upright import upright_size
from loang.data.spec import Depth

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIPS, ORIENTATION, SAMPLES, STRIP_ROWS, STRIP_BYTES, PLANAR = 273, 274, 277, 278, 279, 284
PREDICTOR, COLOURS, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 317, 320, 322, 323, 324, 325
EXTRA, FORMAT, SUBSAMPLING, DEPTH_OF_IMAGE = 338, 339, 530, 32997
FOR_DECODERS = frozenset({292, 293, COLOURS, 347, 529, SUBSAMPLING, 532})
"""Options of CCITT codes, palette, JPEG's tables, YCbCr's coefficients, subsampling and range."""
READ = FOR_DECODERS | {
    *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIPS, ORIENTATION, SAMPLES),
    *(STRIP_ROWS, STRIP_BYTES, PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES),
    *(EXTRA, FORMAT, DEPTH_OF_IMAGE),
}
NONE, LZW, JPEG, DEFLATE, PACKBITS, LZMA, ZSTD, WEBP = 1, 5, 7, 8, 32773, 34925, 50000, 50001
FAX = (2, 3, 4)
OTHER_NAMES = {32946: DEFLATE}
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
COLOUR_SAMPLES = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
PREMULTIPLIED, STRAIGHT = 1, 2  # kinds of opacity
UNSIGNED, SIGNED, REAL, ANY = 1, 2, 3, 4  # formats of a sample
MOST_PARTS = 2**18
"""Strips or tiles of a page: 89 million pixels in tiles of 20 x 20."""


@dataclass(frozen=True)
class Layout:
    """One page.

    Args:
        height: pixels, as they are stored.
        width: pixels, as they are stored.
        samples: values of a pixel.
        bits: of a value.
        format: UNSIGNED, SIGNED or REAL.
        photometric: what the first samples mean.
        opacity: PREMULTIPLIED, STRAIGHT, or 0 where the last sample is none.
        compression: NONE, LZW, ...
        predictor: 1 for none, 2 for differences of values, 3 for differences of floats' bytes.
        planar: 1 where a pixel's samples lie together, 2 where each sample is a plane.
        reversed_bits: whether bytes are stored from their last bit to their first.
        orientation: as in EXIF.
        grey_palette: whether a palette has no colours.
        tiled: whether the parts are tiles, not strips.
        part_height: rows of a part; of strips, the last may have fewer.
        part_width: pixels of a part's row.
        offsets: where each part lies in the file.
        byte_counts: how long each is there.
    """

    height: int
    width: int
    samples: int
    bits: int
    format: int
    photometric: int
    opacity: int
    compression: int
    predictor: int
    planar: int
    reversed_bits: bool
    orientation: int
    grey_palette: bool
    tiled: bool
    part_height: int
    part_width: int
    offsets: tuple[int, ...] = ()
    byte_counts: tuple[int, ...] = ()

    @property
    def depth(self) -> Depth:
        """Of what is read."""
        if self.format != UNSIGNED or self.bits > 16:
            return "float32"
        return "uint8" if self.bits <= 8 else "uint16"

    @property
    def header(self) -> Header:
        """What is read."""
        height, width = upright_size(self.height, self.width, self.orientation)
        if self.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB):
            channels = self.samples - (self.opacity > 0)
        else:
            channels = 1 if self.photometric == PALETTE and self.grey_palette else 3
            channels = 1 if self.photometric == YCBCR and self.samples == 1 else channels
        return Header(height, width, channels, self.depth, self.opacity > 0)

    @property
    def for_pillow(self) -> bool:
        """Whether Pillow keeps everything of it, and is the one to read it."""
        if self.format != UNSIGNED or self.bits not in (1, 2, 4, 8):
            return False
        if self.samples - (self.opacity > 0) > COLOUR_SAMPLES[self.photometric]:
            return False
        if self.compression == LZMA:  # libtiff lets a file ask for any amount of memory
            return False
        if self.compression == PACKBITS and self.predictor != 1:  # libtiff leaves the differences
            return False
        if self.opacity == PREMULTIPLIED and self.photometric != RGB:
            return False
        return self.bits == 8 or self.samples == 1

    @property
    def part_count(self) -> int:
        """Strips or tiles of all planes."""
        down, across = self.height / self.part_height, self.width / self.part_width
        return math.ceil(down) * math.ceil(across) * (self.samples if self.planar == 2 else 1)

    def bytes_of(self, part: int) -> int:
        """Of one strip or tile, unpacked."""
        rows = self.part_height
        if not self.tiled:
            strips = math.ceil(self.height / rows)
            rows = min(rows, self.height - part % strips * rows)
        together = self.samples if self.planar == 1 else 1
        return rows * math.ceil(self.part_width * together * self.bits / 8)


def layout_of(directory: Directory) -> Layout:
    """What a directory says, once it is checked to be possible and within limits.

    Raises:
        Unreadable: it is not, or is of a kind that loang does not read.
    """
    number = directory.number
    height, width, samples = number(HEIGHT, 0), number(WIDTH, 0), number(SAMPLES, 1)
    compression = number(COMPRESSION, NONE)
    compression = OTHER_NAMES.get(compression, compression)
    bits, kind = _same(directory, BITS, 1, "bits"), _same(directory, FORMAT, UNSIGNED, "kind")
    kind = UNSIGNED if kind == ANY else kind
    if samples < 1 or bits < 1 or bits > 64:
        raise Unreadable(f"it announces {samples} samples of {bits} bits")
    if kind not in (UNSIGNED, SIGNED, REAL) or (kind == REAL and bits not in (16, 32, 64)):
        raise Unreadable("its values are neither whole nor real numbers of a known kind")
    check_size(height, width, math.ceil(samples * bits / 8))
    if number(DEPTH_OF_IMAGE, 1) != 1:
        raise Unreadable("it is a volume; save its slices as pages")
    photometric = number(PHOTOMETRIC, RGB if samples in (3, 4) else BLACK_IS_ZERO)
    if photometric not in COLOUR_SAMPLES:
        raise Unreadable(f"its colours are of a kind that is not read (photometric {photometric})")
    opacity = _opacity(directory, photometric, samples)
    tiled = TILES in directory.tags
    rows = number(TILE_HEIGHT, 0) if tiled else number(STRIP_ROWS, height) or height
    layout = Layout(
        height=height,
        width=width,
        samples=samples,
        bits=bits,
        format=kind,
        photometric=photometric,
        opacity=opacity,
        compression=compression,
        predictor=number(PREDICTOR, 1),
        planar=number(PLANAR, 1) if samples > 1 else 1,
        reversed_bits=number(FILL_ORDER, 1) == 2,
        orientation=number(ORIENTATION, 1),
        grey_palette=photometric == PALETTE and _is_grey(directory, bits),
        tiled=tiled,
        part_height=rows if tiled else min(rows, height),
        part_width=number(TILE_WIDTH, 0) if tiled else width,
    )
    _check_kind(layout)
    offsets, byte_counts = _places(directory, layout)
    return replace(layout, offsets=offsets, byte_counts=byte_counts)


def _same(directory: Directory, tag: int, default: int, noun: str) -> int:
    """A number that every sample has of its own, where all have the same."""
    numbers = set(directory.numbers(tag)) or {default}
    if len(numbers) > 1:
        raise Unreadable(f"its channels differ in their {noun}")
    return numbers.pop()


def _opacity(directory: Directory, photometric: int, samples: int) -> int:
    """What the last sample is, where it is the only one beside the colours."""
    if samples != COLOUR_SAMPLES[photometric] + 1 or photometric in (CMYK, YCBCR, LAB):
        return 0
    # RGB with a fourth sample that nothing is said of: all readers take it for opacity.
    default = STRAIGHT if photometric == RGB else 0
    kind = next(iter(directory.numbers(EXTRA)), default)
    return kind if kind in (PREMULTIPLIED, STRAIGHT) else 0


def _is_grey(directory: Directory, bits: int) -> bool:
    colours = directory.numbers(COLOURS)
    if bits > 8 or len(colours) != 3 * 2**bits:
        raise Unreadable("its palette does not fit")
    planes = np.array(colours).reshape(3, -1) // 256
    return bool((planes == planes[0]).all())


def _places(directory: Directory, layout: Layout) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where strips or tiles start, and their bytes: as many as there must be, none over another.

    Raises:
        Unreadable: they don't, or are too many or too large.
    """
    count, whole = layout.part_count, layout.bytes_of(0)
    if count > MOST_PARTS or count * whole > MOST_BYTES:
        raise Unreadable(f"it announces {count:,} parts of {whole:,} bytes")
    places, lengths = (TILES, TILE_BYTES) if layout.tiled else (STRIPS, STRIP_BYTES)
    offsets = directory.numbers(places)[:count]
    byte_counts = directory.numbers(lengths)[:count]
    if layout.compression == NONE and layout.photometric != YCBCR:
        byte_counts = tuple(layout.bytes_of(part) for part in range(count))  # some say it wrongly
    if len(offsets) < count or len(byte_counts) < count:
        raise Unreadable("it does not say where all of its parts are")
    if min(byte_counts) < 1:
        raise Unreadable("parts of it are empty")
    if sum(byte_counts) > LARGEST_FILE:
        raise Unreadable(f"a page of it has more than {LARGEST_FILE:,} bytes")
    if sum(byte_counts) > directory.file_size:
        raise Unreadable("it is cut, or damaged: its parts are longer than the file")
    return offsets, byte_counts


def _check_kind(layout: Layout) -> None:
    """Whether there is a decoder that reads such pages as they are.

    Raises:
        Unreadable: there is none.
    """
    plain = layout.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
    colours = COLOUR_SAMPLES[layout.photometric]
    if layout.samples < colours and (layout.photometric, layout.samples) != (YCBCR, 1):
        raise Unreadable(f"it announces {layout.samples} samples, too few for its colours")
    if not plain and layout.samples - (layout.opacity > 0) > colours:
        raise Unreadable("it has channels beside its colours")
    predicted = layout.compression == PACKBITS and layout.predictor != 1
    if predicted and (layout.bits < 8 or not plain):
        raise Unreadable("its values are predicted in a way that is not read for such colours")
    if not (plain or layout.for_pillow) and (layout.photometric, layout.bits) != (CMYK, 16):
        raise Unreadable("its colours are of a kind that is read only with 8 bits")
    if layout.part_height < 1 or layout.part_width < 1:
        raise Unreadable("it announces parts without pixels")
    if layout.planar not in (1, 2):
        raise Unreadable("its channels lie in an unknown way")
    raw = (NONE, LZW, DEFLATE, PACKBITS, LZMA, ZSTD)
    known = (*raw, *FAX, JPEG, WEBP) if layout.for_pillow else raw
    if layout.compression not in known:
        raise Unreadable(
            f"it is compressed in a way that is not read for such values ({layout.compression});"
            " save it with deflate or LZW"
        )
    if layout.predictor not in (1, 2, 3) or (layout.predictor == 3 and layout.format != REAL):
        raise Unreadable("its values are predicted in an unknown way")
    if layout.reversed_bits and not layout.for_pillow:
        raise Unreadable("its bits lie in reverse order")
