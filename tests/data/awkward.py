"""A folder of a hundred files that each break some tool: generated, with what each must give.

`write(folder)` returns, for every file, the pixels that loang must read (as they are before any
common shape is made), or the words that must stand in the reason why it can't be used.
"""

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import png
import tifffile
from PIL import Image

Expected = np.ndarray | str
RANDOM = np.random.default_rng(42)
HEIGHT, WIDTH = 24, 16


def grey(bits: int = 8) -> np.ndarray:
    """A ramp with noise; every image is another."""
    values = RANDOM.integers(0, 2**bits, (HEIGHT, WIDTH, 1))
    return values.astype(np.uint8 if bits == 8 else np.uint16)


def colour(bits: int = 8) -> np.ndarray:
    return np.concatenate([grey(bits) for _ in range(3)], axis=-1)


def bare(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def encoded(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(bare(pixels)).save(file, kind, **options)
    return file.getvalue()


def sound() -> Iterator[tuple[str, bytes, Expected]]:
    """Whole pictures of every format, mode and depth."""
    for suffix, kind in (("png", "PNG"), ("bmp", "BMP"), ("tif", "TIFF"), ("gif", "GIF")):
        pixels = grey()
        yield f"grey.{suffix}", encoded(pixels, kind), pixels
        if kind != "GIF":
            pixels = colour()
            yield f"colour.{suffix}", encoded(pixels, kind), pixels
    pixels = grey()
    yield "grey.pgm", b"P5 16 24 255\n" + pixels.tobytes(), pixels
    yield "comment.pgm", b"P5\n# a comment\n16 24\n255\n" + pixels[::-1].tobytes(), pixels[::-1]
    pixels = colour()
    yield "colour.ppm", b"P6 16 24 255\n" + pixels.tobytes(), pixels
    yield "lossless.webp", encoded(pixels[::-1], "WEBP", lossless=True, exact=True), pixels[::-1]
    for name, pixels, options in (
        ("grey.jpg", grey(), {}),
        ("colour.jpeg", colour(), {}),
        ("progressive.JPG", colour(), {"progressive": True}),
        ("lossy.webp", colour(), {}),
    ):
        kind = "WEBP" if name.endswith("webp") else "JPEG"
        content = encoded(pixels, kind, **options)
        with Image.open(io.BytesIO(content)) as image:
            decoded = np.asarray(image)
        yield name, content, decoded.reshape(HEIGHT, WIDTH, -1)
    for compression in ("tiff_lzw", "tiff_deflate", "packbits"):
        pixels = colour()
        yield f"{compression}.tiff", encoded(pixels, "TIFF", compression=compression), pixels

    # Fewer bits than a byte has, and more.
    bits = RANDOM.integers(0, 2, (HEIGHT, WIDTH, 1)).astype(np.uint8)
    one = Image.fromarray(bare(bits * 255)).convert("1", dither=Image.Dither.NONE)
    for suffix in ("png", "tif", "bmp"):
        file = io.BytesIO()
        one.save(file, {"tif": "TIFF"}.get(suffix, suffix.upper()))
        yield f"one bit.{suffix}", file.getvalue(), bits * 255
    for depth in (2, 4):
        levels = RANDOM.integers(0, 2**depth, (HEIGHT, WIDTH))
        yield (
            f"{depth} bits.png",
            by_pypng(levels, greyscale=True, bitdepth=depth),
            (levels * 255 // (2**depth - 1)).astype(np.uint8)[..., None],
        )
    deep = grey(16)
    yield "16 bits grey.png", by_pypng(bare(deep), greyscale=True, bitdepth=16), deep
    yield "16 bits interlaced.png", adam7(deep[::-1]), deep[::-1]
    deep = colour(16)
    yield (
        "16 bits colour.png",
        by_pypng(deep.reshape(HEIGHT, -1), greyscale=False, bitdepth=16),
        deep,
    )
    deep = np.concatenate([colour(16), grey(16)], axis=-1)
    yield (
        "16 bits with alpha.png",
        by_pypng(deep.reshape(HEIGHT, -1), greyscale=False, alpha=True, bitdepth=16),
        deep,
    )
    deep = grey(16)
    yield "16 bits.pgm", b"P5 16 24 65535\n" + deep.astype(">u2").tobytes(), deep
    for name, options in (
        ("16 bits.tif", {}),
        ("16 bits big.tif", {"byteorder": ">"}),
        ("16 bits tiled.tif", {"tile": (16, 16)}),
        ("16 bits bigtiff.tif", {"bigtiff": True}),
    ):
        deep = grey(16)
        yield name, by_tifffile(bare(deep), photometric="minisblack", **options), deep
    deep = colour(16)
    yield "16 bits colour.tif", by_tifffile(deep, photometric="rgb"), deep
    deep = colour(16)
    planar = by_tifffile(np.moveaxis(deep, -1, 0), photometric="rgb", planarconfig="separate")
    yield "16 bits planar.tif", planar, deep
    twelve = RANDOM.integers(0, 4096, (HEIGHT, WIDTH)).astype(np.uint16)
    yield "12 bits.tif", packed_twelve(twelve), twelve[..., None]
    inverted = grey()
    yield "white is zero.tif", by_tifffile(bare(inverted), photometric="miniswhite"), 255 - inverted

    # Palettes, transparency, inks.
    palette = Image.fromarray(bare(colour())).quantize(16)
    file = io.BytesIO()
    palette.save(file, "PNG")
    yield "palette.png", file.getvalue(), np.asarray(palette.convert("RGB"))
    file = io.BytesIO()
    palette.save(file, "PNG", transparency=3)
    with Image.open(io.BytesIO(file.getvalue())) as image:
        clear = np.asarray(image.convert("RGBA"))
    yield "palette with alpha.png", file.getvalue(), clear
    alpha = np.concatenate([colour(), grey()], axis=-1)
    yield "alpha.png", encoded(alpha, "PNG"), alpha
    both = np.concatenate([grey(), grey()], axis=-1)
    yield "grey with alpha.png", encoded(both, "PNG"), both[..., [0, 0, 0, 1]]
    inks = np.concatenate([colour(), grey()], axis=-1)
    image = (
        Image.fromarray(inks, "CMYK")
        if False
        else Image.frombytes("CMYK", (WIDTH, HEIGHT), inks.tobytes())
    )
    file = io.BytesIO()
    image.save(file, "TIFF")
    yield "inks.tif", file.getvalue(), np.asarray(image.convert("RGB"))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    with Image.open(io.BytesIO(file.getvalue())) as again:
        yield "inks.jpg", file.getvalue(), np.asarray(again.convert("RGB"))
    frames = [Image.fromarray(bare(grey())) for _ in range(3)]
    for suffix, kind in (("gif", "GIF"), ("png", "PNG")):
        file = io.BytesIO()
        frames[0].save(file, kind, save_all=True, append_images=frames[1:])
        yield f"moving.{suffix}", file.getvalue(), np.asarray(frames[0])[..., None]

    # Turned by EXIF: what is seen is upright.
    turns: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, -1),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p),
    }
    for turn, upright in turns.items():
        seen = grey()
        # What the camera stored, that this turn brings upright: 6 and 8 undo one another.
        stored = turns[{6: 8, 8: 6}.get(turn, turn)](seen)
        assert np.array_equal(upright(stored), seen)
        exif = Image.Exif()
        exif[0x0112] = turn
        yield f"turned {turn}.png", encoded(np.ascontiguousarray(stored), "PNG", exif=exif), seen
        file = io.BytesIO()
        Image.fromarray(bare(np.ascontiguousarray(stored))).save(file, "TIFF", tiffinfo={274: turn})
        yield f"turned {turn}.tif", file.getvalue(), seen


def broken() -> Iterator[tuple[str, bytes, str]]:
    """What only looks like a picture, and what is cut or damaged."""
    whole = encoded(colour(), "JPEG", quality=95)
    yield "no bytes.png", b"", "no picture"
    yield "text.png", b"this is a text", "no picture"
    yield "page.jpg", b"<html><body>404 not found</body></html>", "no picture"
    yield "zeros.bmp", bytes(3000), "no picture"
    yield "pointer.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "no picture"
    yield "movie.gif", b"\0\0\0\x20ftypisom" + bytes(60), "no picture"
    for share in (0.1, 0.5, 0.9):
        yield f"cut at {share:.0%}.jpg", whole[: int(len(whole) * share)], ""
    whole = encoded(colour(), "PNG")
    for share in (0.01, 0.3, 0.9):
        yield f"cut at {share:.0%}.png", whole[: int(len(whole) * share)], ""
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 0xFF
    yield "one bit wrong.png", bytes(damaged), ""
    whole = encoded(grey(), "TIFF")
    yield "cut.tif", whole[: len(whole) // 2], ""
    yield "no directory.tif", b"II*\0" + struct.pack("<I", 2**31), ""
    yield "its own next.tif", b"II*\0" + struct.pack("<IHI", 8, 0, 8), ""
    whole = encoded(grey(), "WEBP")
    yield "cut.webp", whole[: len(whole) // 2], ""
    yield "cut.gif", encoded(grey(), "GIF")[:40], ""
    yield "cut.ppm", b"P6 16 24 255\n" + bytes(100), ""
    yield "too deep.ppm", b"P6 16 24 70000\n" + bytes(3000), ""
    yield "script.ps.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"
    yield "drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture"
    yield "bomb.png", bomb(40_000, 40_000), "more than 89,478,485 pixels"
    yield "wide bomb.png", bomb(2**31 - 1, 2**31 - 1), ""
    yield "bomb.pgm", b"P5 40000 40000 255\n", "more than 89,478,485 pixels"
    yield "bomb.bmp", encoded(grey(), "BMP")[:18] + struct.pack("<ii", 40000, 40000), ""
    yield "no width.png", bomb(0, 10), ""
    floats = RANDOM.normal(size=(HEIGHT, WIDTH)).astype(np.float32)
    yield "float.tif", by_tifffile(floats), "real numbers"
    yield "double.tif", by_tifffile(floats.astype(np.float64)), "real numbers"
    floats[3, 4] = np.nan
    yield "not a number.tif", by_tifffile(floats), ""
    signed = RANDOM.integers(-99, 99, (HEIGHT, WIDTH)).astype(np.int16)
    yield "signed.tif", by_tifffile(signed), "real numbers"
    yield "five channels.tif", stack(5), "1 or 3 channels"
    yield "two channels.tif", stack(2), "1 or 3 channels"


def write(folder: Path) -> dict[str, Expected]:
    """A hundred files and links, under a folder that need not exist."""
    expected: dict[str, Expected] = {}
    for name, content, result in (*sound(), *broken()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        expected[name] = result
    pixels = [grey() for _ in range(6)]
    pages = by_tifffile(np.stack([bare(page) for page in pixels[:3]]), photometric="minisblack")
    (folder / "pages.tif").write_bytes(pages)
    for number, page in enumerate(pixels[:3]):
        expected[f"pages.tif, page {number + 1}" if number else "pages.tif"] = page
    for name, page in (
        ("con nước loang 水彩 🎨.png", pixels[3]),
        (f"{'long' * 60}.png", pixels[4]),
        ("a/b c/d'e/" + "deep/" * 20 + "x\ty.PNG", pixels[5]),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(page, "PNG"))
        expected[name.replace("\t", "\\t")] = page  # as a person may safely read it
    (folder / "round").mkdir()
    (folder / "round" / "back").symlink_to(folder)  # visited once
    (folder / "itself.png").symlink_to(folder / "itself.png")
    (folder / "nowhere.png").symlink_to(folder / "not there.png")
    expected["itself.png"] = expected["nowhere.png"] = ""
    os.mkfifo(folder / "pipe.png")
    expected["pipe.png"] = "no plain file"
    (folder / "a folder.png").mkdir()  # a folder by the name of a picture is a folder
    (folder / "a folder.png" / "inside.png").write_bytes(encoded(pixels[0][::-1], "PNG"))
    expected["a folder.png/inside.png"] = pixels[0][::-1]
    return expected


def by_pypng(rows: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    width = WIDTH
    png.Writer(width, HEIGHT, **options).write(file, rows.tolist())
    return file.getvalue()


def adam7(pixels: np.ndarray) -> bytes:
    return by_pypng(bare(pixels), greyscale=True, bitdepth=16, interlace=True)


def by_tifffile(values: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def stack(channels: int) -> bytes:
    values = RANDOM.integers(0, 256, (HEIGHT, WIDTH, channels)).astype(np.uint8)
    return by_tifffile(values, photometric="minisblack", planarconfig="contig")


def packed_twelve(values: np.ndarray) -> bytes:
    """A TIFF of 12 bits a value: three bytes hold two of them."""
    pairs = values.reshape(-1, 2).astype(np.uint32)
    whole = (pairs[:, 0] << 12) | pairs[:, 1]
    data = np.stack([whole >> 16, whole >> 8 & 255, whole & 255], axis=1).astype(np.uint8).tobytes()
    entries = [
        (256, 3, 1, WIDTH),
        (257, 3, 1, HEIGHT),
        (258, 3, 1, 12),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 3, 1, HEIGHT),
        (279, 4, 1, len(data)),
    ]
    directory = struct.pack("<H", len(entries))
    for tag, kind, count, value in entries:
        directory += struct.pack("<HHII", tag, kind, count, value)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4)


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header announces so much, and whose few bytes would unpack to gigabytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(10**6))
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
