"""Pictures from a stranger: each is refused in words, quickly, with little memory."""

import io
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import png
import pytest
import tifffile
from PIL import Image

from loang.data.encoded.picture import Unreadable, count_pages, read_header, read_picture

DEEP = np.random.default_rng(0).integers(0, 65536, (21, 17, 3), np.uint16)
LITTLE = 2**24  # bytes that a refusal may take: what the libraries need for themselves
LONG = 2.0  # seconds


def refused(
    content: bytes, words: str = "it", *, by: Callable[[bytes], object] = read_picture
) -> None:
    tracemalloc.start()
    start = time.monotonic()
    try:
        with pytest.raises(Unreadable, match=words):
            by(content)
        assert tracemalloc.get_traced_memory()[1] < LITTLE + 2 * len(content)
        assert time.monotonic() - start < LONG
    finally:
        tracemalloc.stop()


def entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack("<HHII", tag, kind, count, value)


def directory(changes: dict[int, tuple[int, int, int]], link: int = 0, size: int = 64) -> bytes:
    """A TIFF of 4 x 4 grey pixels of 16 bits, some of its tags changed: (type, count, value)."""
    tags = {
        256: (4, 1, 4),
        257: (4, 1, 4),
        258: (3, 1, 16),
        259: (3, 1, 1),
        262: (3, 1, 1),
        273: (4, 1, 400),
        277: (3, 1, 1),
        278: (4, 1, 4),
        279: (4, 1, 32),
    } | changes
    entries = b"".join(entry(tag, *rest) for tag, rest in sorted(tags.items()))
    start = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", link)
    return start.ljust(400, b"\0") + bytes(size)


def test_the_tiff_that_the_others_are_made_of_is_sound() -> None:
    assert read_picture(directory({})).shape == (4, 4, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {256: (4, 1, 10**6), 257: (4, 1, 10**6)},
        {256: (4, 1, 2**32 - 1), 257: (4, 1, 2**32 - 1)},
        {256: (4, 1, 0)},
        {277: (3, 1, 65535), 256: (4, 1, 10**4), 257: (4, 1, 10**3)},
        {277: (4, 1, 2**32 - 1)},
        {277: (3, 1, 0)},
        {258: (3, 1, 64), 256: (4, 1, 9000), 257: (4, 1, 9000)},
        {258: (3, 1, 0)},
        {258: (4, 1, 2**31)},
        {258: (4, 2**30, 0)},
        {258: (5, 1, 8)},
        {339: (3, 1, 6)},
        {273: (4, 1, 2**32 - 1)},
        {273: (4, 1, 450)},
        {273: (4, 2**32 - 1, 8)},
        {273: (4, 2**20, 8)},
        {278: (4, 1, 1)},
        {259: (3, 1, 8), 279: (4, 1, 2**32 - 1)},
        {259: (3, 1, 8), 279: (4, 1, 0)},
        {259: (3, 1, 12345)},
        {259: (3, 1, 7)},
        {262: (3, 1, 32803)},
        {284: (3, 1, 9), 277: (3, 1, 2)},
        {317: (3, 1, 34892)},
        {32997: (4, 1, 10**6)},
        {266: (3, 1, 2)},
        {322: (4, 1, 2**31), 323: (4, 1, 2**31), 324: (4, 1, 8), 325: (4, 1, 32)},
        {322: (4, 1, 30000), 323: (4, 1, 30000), 324: (4, 1, 8), 325: (4, 1, 32)},
        {322: (4, 1, 0), 323: (4, 1, 0), 324: (4, 1, 8), 325: (4, 1, 32)},
        {257: (4, 1, 2**25), 278: (4, 1, 1)},
    ],
    ids=str,
)
def test_a_tiff_that_announces_what_cannot_be(changes: dict[int, tuple[int, int, int]]) -> None:
    refused(directory(changes))


def test_pages_in_a_circle() -> None:
    for by in (count_pages, read_header, read_picture):
        refused(directory({}, link=8), "circle", by=by)


def test_pages_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each directory of 18 bytes points to the next one."""
    monkeypatch.setattr("loang.data.encoded.tiff_directory.MOST_PAGES", 1000)
    page = struct.pack("<H", 1) + entry(256, 4, 1, 4)
    links = b"".join(page + struct.pack("<I", 8 + 18 * (n + 1)) for n in range(1009))
    refused(b"II*\0" + struct.pack("<I", 8) + links, "1,000 pages", by=count_pages)


def test_a_page_of_very_many_tags() -> None:
    refused(b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(12 * 65535), "65,535 tags")


def test_a_strip_that_unpacks_to_more_than_it_should() -> None:
    for number, bomb in (
        (8, zlib.compress(bytes(10**8), 9)),
        (32946, zlib.compress(bytes(10**8), 9)),
        (34925, __import__("lzma").compress(bytes(10**8))),
        (50000, __import__("imagecodecs").zstd_encode(bytes(10**8))),
    ):
        content = directory({259: (3, 1, number), 279: (4, 1, len(bomb))})[:400] + bomb
        tracemalloc.start()
        try:
            picture = read_picture(content)
            assert not picture.any()
        except Unreadable:
            assert number == 50000  # it is not unpacked in part
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < LITTLE + 2 * len(content)


def test_strips_over_one_another() -> None:
    """So that a small file would be unpacked very often."""
    strips, rows = 5000, 5000
    bomb = zlib.compress(bytes(10**6))
    places = struct.pack(f"<{strips}I", *[400] * strips)
    lengths = struct.pack(f"<{strips}I", *[len(bomb)] * strips)
    at = 400 + len(bomb)
    changes = {
        257: (4, 1, rows),
        259: (3, 1, 8),
        278: (4, 1, 1),
        273: (4, strips, at),
        279: (4, strips, at + len(places)),
    }
    content = directory(changes)[:400] + bomb + places + lengths
    refused(content, "longer than the file")


def deep_png(rows: bytes, width: int, height: int, kind: int = 2, interlaced: int = 0) -> bytes:
    file = io.BytesIO()
    start = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, interlaced)
    packed = zlib.compress(rows, 9)
    png.write_chunks(file, [(b"IHDR", start), (b"IDAT", packed), (b"IEND", b"")])
    return file.getvalue()


@pytest.mark.parametrize("interlaced", [0, 1])
def test_a_deep_png_that_unpacks_to_more_than_it_should(interlaced: int) -> None:
    content = deep_png(bytes(10**8), 4, 4, interlaced=interlaced)
    tracemalloc.start()
    try:
        assert not read_picture(content).any()
        assert tracemalloc.get_traced_memory()[1] < LITTLE + 4 * len(content)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("interlaced", [0, 1])
def test_a_deep_png_that_announces_more_than_it_has(interlaced: int) -> None:
    refused(deep_png(bytes(100), 8000, 8000, interlaced=interlaced), "missing")
    refused(deep_png(bytes(100), 8000, 9000, kind=6, interlaced=interlaced), "bytes of values")
    refused(deep_png(bytes(100), 10**6, 10**6, interlaced=interlaced), "pixels")


def test_a_deep_ppm_that_announces_more_than_it_has() -> None:
    refused(b"P6 9000 9000 65535 " + bytes(1000), "missing")
    refused(b"P6 999999999 999999999 65535 " + bytes(1000), "pixels")


def sound() -> dict[str, bytes]:
    made = {}
    for name, options in {
        "plain": {},
        "deflate": {"compression": "zlib", "predictor": True},
        "tiles": {"tile": (16, 16), "compression": "lzw"},
        "bigtiff": {"bigtiff": True, "byteorder": ">"},
        "planes": {"planarconfig": "separate"},
    }.items():
        file = io.BytesIO()
        pixels = np.moveaxis(DEEP, -1, 0) if name == "planes" else DEEP
        tifffile.imwrite(file, pixels, photometric="rgb", metadata=None, **options)
        made[f"tiff, {name}"] = file.getvalue()
    file = io.BytesIO()
    tifffile.imwrite(file, DEEP / np.float32(7), photometric="rgb", metadata=None)
    made["tiff, floats"] = file.getvalue()
    file = io.BytesIO()
    image = Image.fromarray((DEEP // 256).astype(np.uint8))
    image.save(file, format="TIFF", compression="jpeg")
    made["tiff, jpeg"] = file.getvalue()
    file = io.BytesIO()
    png.Writer(17, 21, greyscale=False, bitdepth=16).write(file, DEEP.reshape(21, -1).tolist())
    made["png"] = file.getvalue()
    made["ppm"] = b"P6 17 21 65535 " + DEEP.astype(">u2").tobytes()
    return made


@pytest.mark.parametrize("name", sound())
def test_cut_anywhere_is_refused(name: str) -> None:
    content = sound()[name]
    assert read_picture(content).shape == DEEP.shape
    # What stands after the pixels is not missed: a PNG's last chunk, a directory's last zeros.
    for end in range(0, len(content) - 50, 50):
        with pytest.raises(Unreadable):
            read_picture(content[:end])


CHATTY = """
import sys
from loang.data.encoded.picture import Unreadable, read_header, read_picture
content = sys.stdin.buffer.read()
for damaged in (content[:-100], content[:200] + bytes(300) + content[500:], content[:-3000]):
    try:
        read_header(damaged), read_picture(damaged)
    except Unreadable:
        pass
"""


def test_nothing_is_printed_of_a_damaged_tiff() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHATTY],
        input=sound()["tiff, deflate"],
        capture_output=True,
        check=True,
    )
    assert done.stdout == done.stderr == b""
