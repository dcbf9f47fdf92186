"""PNG and PNM with more than 8 bits a value."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import png
import pytest
from PIL import Image

from loang.data.encoded.picture import Header, Unreadable, read_header, read_picture

VALUES = np.random.default_rng(0).integers(0, 65536, (9, 13, 4), np.uint16)
PLANES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


def deep_png(mode: str, **options: object) -> bytes:
    planes = PLANES[mode]
    file = io.BytesIO()
    writer = png.Writer(
        13, 9, greyscale=mode[0] == "L", alpha=mode[-1] == "A", bitdepth=16, **options
    )
    writer.write(file, VALUES[..., :planes].reshape(9, -1).tolist())
    return file.getvalue()


def expected(mode: str) -> np.ndarray:
    stored = VALUES[..., : PLANES[mode]]
    return stored[..., [0, 0, 0, 1]] if mode == "LA" else stored


def filtered(stored: np.ndarray, kind: int) -> bytes:
    """Rows of bytes, each filtered in one way (PNG, section 9.2); `stored` is (rows, bytes)."""
    step, result = 6, b""
    above = np.zeros(stored.shape[1], np.int64)
    for row in stored.astype(np.int64):
        left = np.concatenate([np.zeros(step, np.int64), row[:-step]])
        corner = np.concatenate([np.zeros(step, np.int64), above[:-step]])
        estimate = left + above - corner
        distances = [abs(estimate - near) for near in (left, above, corner)]
        nearest = np.choose(np.argmin(distances, axis=0), [left, above, corner])
        guess = [0 * row, left, above, (left + above) // 2, nearest][kind]
        result += bytes([kind]) + ((row - guess) % 256).astype(np.uint8).tobytes()
        above = row
    return result


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def rgb_png(rows: bytes, height: int = 9, width: int = 13, more: bytes = b"") -> bytes:
    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    content = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + start + more + content


@pytest.mark.parametrize("interlace", [False, True])
@pytest.mark.parametrize("mode", PLANES)
def test_png_keeps_16_bits(mode: str, interlace: bool) -> None:
    content = deep_png(mode, interlace=interlace)
    channels, transparent = 1 if mode[0] == "L" else 3, mode[-1] == "A"
    assert read_header(content) == Header(9, 13, channels, "uint16", transparent)
    assert np.array_equal(read_picture(content), expected(mode))


@pytest.mark.parametrize("kind", range(5))
def test_every_filter_of_png_is_undone(kind: int) -> None:
    stored = VALUES[..., :3].astype(">u2").view(np.uint8).reshape(9, -1)
    assert np.array_equal(read_picture(rgb_png(filtered(stored, kind))), VALUES[..., :3])


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_one_colour_of_a_deep_png_can_be_clear(mode: str) -> None:
    colour = tuple(int(value) for value in VALUES[2, 3, : PLANES[mode]])
    content = deep_png(mode, transparent=colour[0] if mode == "L" else colour)
    assert read_header(content).transparent
    picture = read_picture(content)
    assert picture.shape == (9, 13, 4)
    stored = VALUES[..., : PLANES[mode]]
    clear = (stored == colour).all(axis=-1)
    assert np.array_equal(picture[..., 3], np.where(clear, 0, 65535))
    assert np.array_equal(picture[..., :3], np.broadcast_to(stored, (9, 13, 3)))


def test_what_png_says_of_significant_bits_changes_nothing() -> None:
    rows = filtered(VALUES[..., :3].astype(">u2").view(np.uint8).reshape(9, -1), 0)
    content = rgb_png(rows, more=chunk(b"sBIT", b"\x0c\x0c\x0c"))
    assert np.array_equal(read_picture(content), VALUES[..., :3])


def test_a_deep_png_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    rows = filtered(VALUES[..., :3].astype(">u2").view(np.uint8).reshape(9, -1), 0)
    content = rgb_png(rows, more=chunk(b"eXIf", exif.tobytes()[6:]))
    assert read_header(content) == Header(13, 9, 3, "uint16")
    assert np.array_equal(read_picture(content), np.rot90(VALUES[..., :3], -1))


@pytest.mark.parametrize("most", [65535, 4095, 256])
@pytest.mark.parametrize("comment", [b"", b"# of a\n# camera\n"])
def test_ppm_keeps_16_bits(tmp_path: Path, most: int, comment: bytes) -> None:
    stored = VALUES[..., :3].astype(int) % (most + 1)
    head = b"P6\n" + comment + f"13 9\n{most}\n".encode()
    path = tmp_path / "deep.ppm"
    path.write_bytes(head + stored.astype(">u2").tobytes())
    assert read_header(path) == Header(9, 13, 3, "uint16")
    assert np.array_equal(read_picture(path), np.rint(stored * (65535 / most)).astype(np.uint16))


def test_ppm_of_many_values_as_text_is_refused_in_words() -> None:
    with pytest.raises(Unreadable, match="save it as P6"):
        read_picture(b"P3 1 1 65535 1 2 3\n")


def test_portable_float_maps_are_floats() -> None:
    stored = VALUES[..., 0].astype("<f4") / 7
    content = b"Pf\n13 9\n-1.0\n" + stored[::-1].tobytes()  # rows from below
    assert read_header(content) == Header(9, 13, 1, "float32")
    assert np.array_equal(read_picture(content)[..., 0], stored)
    with pytest.raises(Unreadable, match="not finite"):
        read_picture(b"Pf\n13 9\n-1.0\n" + np.full_like(stored, np.nan).tobytes())
