"""TIFF: every depth, every number of channels, every way in which a page may lie in its file."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from loang.data.encoded.picture import Header, Unreadable, read_header, read_picture

RANDOM = np.random.default_rng(0)
DEEP = RANDOM.integers(0, 65536, (21, 17, 7), np.uint16)


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **{"metadata": None, **options})
    return file.getvalue()


def patched(content: bytes, tag: int, value: int) -> bytes:
    """With another value in a little-endian classic TIFF's tag, of one number."""
    data = bytearray(content)
    entry = next(t for t in tifffile.TiffFile(io.BytesIO(content)).pages[0].tags if t.code == tag)
    data[entry.offset + 8 : entry.offset + 12] = value.to_bytes(4, "little")
    return bytes(data)


def check(content: bytes, expected: np.ndarray, **of_header: object) -> None:
    header = read_header(content)
    transparent = bool(of_header.get("transparent"))
    channels = of_header.get("channels", expected.shape[2])
    assert header == Header(*expected.shape[:2], channels, expected.dtype.name, transparent)
    picture = read_picture(content)
    assert picture.dtype == expected.dtype
    assert np.array_equal(picture, expected)


WAYS = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "bigtiff": {"bigtiff": True},
    "strips": {"rowsperstrip": 5},
    "tiles": {"tile": (16, 16)},
    "deflate": {"compression": "zlib"},
    "deflate, predicted": {"compression": "zlib", "predictor": True},
    "lzw, tiles": {"compression": "lzw", "tile": (16, 16), "predictor": True},
    "zstd": {"compression": "zstd"},
    "lzma": {"compression": "lzma"},
    "packbits": {"compression": "packbits"},
    "packbits, predicted": {"compression": "packbits", "predictor": True},
    "big-endian, predicted": {"byteorder": ">", "compression": "zlib", "predictor": True},
}


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("way", WAYS)
def test_depth_and_channels_are_kept(way: str, planar: str, channels: int, kind: str) -> None:
    pixels = DEEP[..., :channels].astype(kind)
    if kind == "float32":
        pixels = pixels / np.float32(7)
    photometric = "rgb" if channels == 3 else "minisblack"
    stored = pixels[..., 0] if channels == 1 else pixels
    options = {"photometric": photometric}
    if channels > 1:
        options["planarconfig"] = planar
        stored = np.moveaxis(pixels, -1, 0) if planar == "separate" else pixels
    check(tiff(stored, **options, **WAYS[way]), pixels)


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_other_floats_become_float32(kind: str) -> None:
    pixels = (DEEP[..., 0] / 60000).astype(kind)
    check(tiff(pixels, photometric="minisblack"), pixels.astype(np.float32)[..., None])


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "uint32", "int64", "uint64"])
def test_signed_and_long_integers_become_exact_floats(kind: str) -> None:
    pixels = DEEP[..., 0].astype(kind)
    check(tiff(pixels, photometric="minisblack"), pixels.astype(np.float32)[..., None])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.float32(np.nan), "not finite"),
        (np.float32(np.inf), "not finite"),
        (np.float64(1e39), "too large for a float32"),
        (np.int32(2**24 + 1), "24 bits"),
        (np.uint64(2**64 - 1), "24 bits"),
    ],
)
def test_what_float32_does_not_hold_is_refused_in_words(value: np.generic, words: str) -> None:
    pixels = np.zeros((4, 5), value.dtype)
    pixels[2, 3] = value
    content = tiff(pixels, photometric="minisblack")
    assert read_header(content).depth == "float32"
    with pytest.raises(Unreadable, match=words):
        read_picture(content)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_twelve_bits_stay_as_they_are(bits: int) -> None:
    import imagecodecs

    pixels = DEEP[..., :1] % 2**bits
    packed = imagecodecs.packints_encode(np.ascontiguousarray(pixels[..., 0]), bits)
    rows = 17 * bits
    assert rows % 8  # rows start at whole bytes
    packed = b"".join(imagecodecs.packints_encode(row, bits) for row in pixels[..., 0].copy())
    content = tiff(np.zeros((21, len(packed) // 21), np.uint8), photometric="minisblack")
    content = patched(patched(content, 256, 17), 258, bits)
    place = tifffile.TiffFile(io.BytesIO(content)).pages[0].dataoffsets[0]
    check(content[:place] + packed, pixels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_fewer_than_8_bits_are_stretched(bits: int) -> None:
    values = DEEP[..., 0] % 2**bits
    columns = -(-17 * bits // 8)
    padded = np.zeros((21, columns * 8 // bits), np.uint8)
    padded[:, :17] = values
    each = (padded[..., None] >> np.arange(bits)[::-1]) & 1
    packed = np.packbits(each.reshape(21, -1).astype(np.uint8), axis=1)
    content = tiff(packed, photometric="minisblack")
    content = patched(patched(content, 256, 17), 258, bits)
    whole = (values * (255 // (2**bits - 1))).astype(np.uint8)[..., None]
    check(content, whole)
    check(patched(content, 262, 0), 255 - whole)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_white_at_zero_is_put_right(kind: str) -> None:
    pixels = DEEP[..., :1].astype(kind)
    content = tiff(np.iinfo(kind).max - pixels[..., 0], photometric="miniswhite")
    check(content, pixels)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("opacity", ["unassalpha", "assocalpha"])
def test_opacity_is_read_as_rgba(kind: str, colours: int, opacity: str) -> None:
    most = 1.0 if kind == "float32" else float(np.iinfo(kind).max)
    straight = (DEEP[..., : colours + 1] / 65535 * most).astype(kind)
    straight[0, 0] = 0
    stored, tolerance = straight, 0.0
    if opacity == "assocalpha":
        share = straight[..., -1:] / most
        stored = straight.copy()
        product = straight[..., :-1] * share
        stored[..., :-1] = product if kind == "float32" else np.rint(product)
        straight[..., :-1] *= straight[..., -1:] > 0
        tolerance = 1e-4
    photometric = "rgb" if colours == 3 else "minisblack"
    content = tiff(stored, photometric=photometric, extrasamples=[opacity], planarconfig="contig")
    assert read_header(content) == Header(21, 17, colours, kind, transparent=True)
    picture = read_picture(content)
    assert picture.dtype == kind
    assert np.array_equal(picture[..., 3], straight[..., -1])
    wanted = np.broadcast_to(straight[..., :-1], (21, 17, 3))
    # Colours divided by a small opacity are as exact as their rounding allows.
    seen = straight[..., -1:] > most / 4
    error = np.abs(picture[..., :3].astype(float) - wanted) * seen
    assert error.max() <= (tolerance if kind == "float32" else 4 * (tolerance > 0))


@pytest.mark.parametrize("opacity", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("beyond", [-0.5, 300.0])
def test_opacity_in_real_numbers_beyond_0_to_1_is_refused(opacity: str, beyond: float) -> None:
    """It is no opacity then: what is laid on white by it would leave every range."""
    pixels = (DEEP[..., :4] / 65535).astype(np.float32)
    pixels[3, 4, 3] = beyond
    content = tiff(pixels, photometric="rgb", extrasamples=[opacity], planarconfig="contig")
    with pytest.raises(Unreadable, match=r"beyond 0\.\.1"):
        read_picture(content)
    bands = tiff(pixels, photometric="rgb", extrasamples=["unspecified"], planarconfig="contig")
    check(bands, pixels)


def test_four_channels_without_opacity_are_four() -> None:
    check(tiff(DEEP[..., :4], photometric="minisblack", planarconfig="contig"), DEEP[..., :4])
    bands = DEEP[..., :4].astype(np.uint8)
    check(tiff(bands, photometric="rgb", extrasamples=["unspecified"]), bands)


def test_a_palette_and_its_greys() -> None:
    colours = RANDOM.integers(0, 256, (3, 256)).astype(np.uint16) * 257
    index = DEEP[..., 0].astype(np.uint8)
    wanted = np.moveaxis(colours[:, index] // 257, 0, -1).astype(np.uint8)
    check(tiff(index, photometric="palette", colormap=colours), wanted)
    colours[:] = colours[0]
    wanted = (colours[0][index] // 257).astype(np.uint8)[..., None]
    check(tiff(index, photometric="palette", colormap=colours), wanted)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_cmyk_becomes_rgb(kind: str, planar: str) -> None:
    inks = DEEP[..., :4].astype(kind)
    most = np.iinfo(kind).max
    light = 1 - inks / most
    wanted = light[..., :3] * light[..., 3:] * most
    stored = np.moveaxis(inks, -1, 0) if planar == "separate" else inks
    content = tiff(stored, photometric="separated", planarconfig=planar)
    assert read_header(content) == Header(21, 17, 3, kind)
    picture = read_picture(content)
    assert picture.dtype == kind
    assert np.abs(picture - wanted).max() <= 1


@pytest.mark.parametrize("compression", ["raw", "tiff_deflate", "jpeg"])
def test_ycbcr_becomes_rgb(compression: str) -> None:
    colours = np.zeros((32, 48, 3), np.uint8) + np.array([200, 30, 90], np.uint8)
    colours[:, 24:] = (10, 160, 60)
    file = io.BytesIO()
    image = Image.fromarray(colours)
    if compression != "jpeg":
        image = image.convert("YCbCr")
    image.save(file, format="TIFF", compression=compression)
    content = file.getvalue()
    assert read_header(content) == Header(32, 48, 3, "uint8")
    error = np.abs(read_picture(content).astype(int) - colours)
    assert error[:, [*range(20), *range(28, 48)]].max() <= 6


def test_subsampled_ycbcr_without_compression() -> None:
    """Two by two pixels have their four Y, and one Cb and Cr for all (TIFF 6.0, section 21)."""
    left, right = (76, 85, 255), (150, 44, 21)  # red and green in JPEG's Y, Cb and Cr
    units = b"".join(bytes([y] * 4 + [cb, cr]) for y, cb, cr in (left, right, left, right))
    content = tiff(np.frombuffer(units, np.uint8).reshape(1, 8, 3), photometric="rgb")
    place = tifffile.TiffFile(io.BytesIO(content)).pages[0].dataoffsets[0]
    for tag, value in ((256, 4), (257, 4), (262, 6), (278, 4)):
        content = patched(content, tag, value)
    content = content[:place] + units
    picture = read_picture(content).astype(int)
    assert np.abs(picture[:, :2] - [254, 0, 0]).max() <= 3
    assert np.abs(picture[:, 2:] - [0, 255, 1]).max() <= 3


def test_lab_becomes_rgb() -> None:
    """L* of 50 is grey 119 in sRGB, and a* = 60, b* = 40 a red; a* and b* are signed bytes."""
    lab = np.zeros((2, 8, 3), np.uint8)
    lab[..., 0] = 128  # 50.2
    lab[1, :, 1:] = (60, 40)
    content = tiff(lab, photometric="cielab")
    assert read_header(content) == Header(2, 8, 3, "uint8")
    picture = read_picture(content).astype(int)
    assert np.abs(picture[0] - 119).max() <= 2
    assert np.abs(picture[1] - [209, 64, 58]).max() <= 8


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_stands_upright(kind: str, orientation: int) -> None:
    upright = DEEP[..., :3].astype(kind)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    tag = (274, 3, 1, orientation, True)
    content = tiff(np.ascontiguousarray(stored), photometric="rgb", extratags=[tag])
    check(content, upright)
