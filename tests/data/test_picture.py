import contextlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from loang.data.encoded.picture import Header, Unreadable, count_pages, read_header, read_picture

RAMP = np.arange(6 * 4, dtype=np.uint8).reshape(6, 4) * 10
RED = np.zeros((6, 4, 3), np.uint8) + np.array([200, 0, 0], np.uint8)


def check(path: Path, channels: int, depth: str = "uint8") -> np.ndarray:
    picture, header = read_picture(path), read_header(path)
    assert header == Header(*picture.shape[:2], channels, depth, transparent=False)
    assert picture.dtype == depth
    return picture


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "pgm", "webp", "jpg"])
def test_grey_stays_grey(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"grey.{suffix}"
    Image.fromarray(RAMP).save(path, **({"lossless": True} if suffix == "webp" else {}))
    picture = check(path, 3 if suffix == "webp" else 1)  # WebP knows only colour
    assert np.abs(picture[..., 0].astype(int) - RAMP).max() <= (8 if suffix == "jpg" else 0)


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "ppm", "webp", "jpg"])
def test_colour_stays_colour(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"red.{suffix}"
    Image.fromarray(RED).save(path)
    assert np.abs(check(path, 3).astype(int) - RED).max() <= 4


def test_a_bitmap_is_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(RAMP > 100).save(tmp_path / "bits.png")
    assert set(np.unique(check(tmp_path / "bits.png", 1))) == {0, 255}


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_becomes_rgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cmyk.{suffix}"
    Image.fromarray(RED).convert("CMYK").save(path)
    assert np.abs(check(path, 3).astype(int) - RED).max() <= 4


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tif"])
@pytest.mark.parametrize("kind", ["grey", "colour"])
def test_a_palette_is_grey_or_coloured(tmp_path: Path, suffix: str, kind: str) -> None:
    colours = RED.copy()
    if kind == "grey":
        colours[...] = RAMP[..., None]
    path = tmp_path / f"palette.{suffix}"
    Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE).save(path)
    picture = check(path, 1 if kind == "grey" else 3)
    assert np.array_equal(np.broadcast_to(picture, colours.shape), colours)


def test_a_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(RED).convert("P")
    colour = image.getpixel((0, 0))
    image.save(tmp_path / "palette.png", transparency=colour)
    picture = read_picture(tmp_path / "palette.png")
    assert read_header(tmp_path / "palette.png") == Header(6, 4, 3, "uint8", transparent=True)
    assert picture.shape == (6, 4, 4)
    assert not picture[..., 3].any()


def test_grey_with_alpha_has_a_grey_header(tmp_path: Path) -> None:
    Image.fromarray(RAMP).convert("LA").save(tmp_path / "la.png")
    assert read_header(tmp_path / "la.png") == Header(6, 4, 1, "uint8", transparent=True)
    assert read_picture(tmp_path / "la.png").shape == (6, 4, 4)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_stands_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    """Orientation 6 is stored lying on its left side: the viewer turns it clockwise."""
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(stored).save(path, exif=exif)
    picture = check(path, 3)
    assert picture.shape[:2] == ((16, 32) if orientation < 5 else (32, 16))
    corner = {
        1: (0, 0),
        2: (0, 1),
        3: (1, 1),
        4: (1, 0),
        5: (0, 0),
        6: (0, 1),
        7: (1, 1),
        8: (1, 0),
    }
    vertical, horizontal = corner[orientation]
    assert picture[-4 * vertical, -4 * horizontal].min() > 200
    assert picture[-4 * (1 - vertical), -4 * (1 - horizontal)].max() < 50


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_are_kept(tmp_path: Path, suffix: str) -> None:
    deep = RAMP.astype(np.uint16) * 251
    if suffix == "pgm":  # which not each Pillow writes
        head = f"P5 {deep.shape[1]} {deep.shape[0]} 65535\n".encode()
        (tmp_path / "deep.pgm").write_bytes(head + deep.astype(">u2").tobytes())
    else:
        Image.fromarray(deep).save(tmp_path / f"deep.{suffix}")
    assert np.array_equal(check(tmp_path / f"deep.{suffix}", 1, "uint16")[..., 0], deep)


def test_only_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert np.array_equal(check(tmp_path / "moving.gif", 1)[..., 0], RAMP)


def bomb() -> bytes:
    """A PNG of a hundred bytes that announces 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"only some text", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n", bomb()],
    ids=["empty", "text", "cut", "postscript", "bomb"],
)
def test_what_is_no_picture_is_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "not.png"
    path.write_bytes(content)
    for read in (read_header, read_picture):
        with pytest.raises(Unreadable):
            read(path)


def test_a_cut_picture_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Unreadable):
        read_picture(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.png", tmp_path):
        for read in (read_header, read_picture, count_pages):
            with pytest.raises(Unreadable):
                read(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tif", "bmp", "webp"])
def test_bytes_are_read_as_a_file_of_them_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"red.{suffix}"
    Image.fromarray(RED).save(path)
    assert read_header(path.read_bytes()) == read_header(path)
    assert np.array_equal(read_picture(path.read_bytes()), read_picture(path))
    assert count_pages(path) == count_pages(path.read_bytes()) == 1
    for read in (read_header, read_picture):
        with pytest.raises(Unreadable, match="no page 1"):
            read(path, page=1)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tif", "bmp", "webp"])
def test_any_damage_is_unreadable_or_harmless(tmp_path: Path, suffix: str) -> None:
    path, generator = tmp_path / f"damaged.{suffix}", np.random.default_rng(0)
    Image.fromarray(RED).save(path)
    sound = path.read_bytes()
    for _ in range(100):
        damaged = bytearray(sound)
        for place in generator.integers(0, len(sound), 3):
            damaged[place] = generator.integers(256)
        path.write_bytes(bytes(damaged))
        for read in (read_header, read_picture):
            with contextlib.suppress(Unreadable):
                read(path)


def bomb(path: Path, width: int, height: int) -> Path:
    """A tiny file whose header announces so many pixels."""
    suffix = path.suffix
    if suffix == ".png":

        def chunk(kind: bytes, content: bytes) -> bytes:
            sum32 = struct.pack(">I", zlib.crc32(kind + content))
            return struct.pack(">I", len(content)) + kind + content + sum32

        header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
        rows = zlib.compress(bytes(10**6))
        content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)
    elif suffix == ".ppm":
        content = f"P6 {width} {height} 255\n".encode() + bytes(100)
    elif suffix == ".gif":
        sides = struct.pack("<HH", width, height)
        content = b"GIF89a" + sides + b"\x80\0\0" + bytes(6) + b"," + bytes(4) + sides + b"\0\x02"
    else:
        Image.new("L", (4, 4)).save(path)
        data = bytearray(path.read_bytes())
        place = {".bmp": 18, ".tif": 0}[suffix]
        if suffix == ".bmp":
            data[place : place + 8] = struct.pack("<ii", width, height)
        else:
            for tag, value in ((256, width), (257, height)):
                at = data.index(struct.pack("<H", tag), 4)
                data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, value)
        content = bytes(data)
    path.write_bytes(content)
    return path


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("suffix", [".png", ".ppm", ".gif", ".bmp", ".tif"])
@pytest.mark.parametrize("limit", [None, 2**28 // 3])
def test_a_tiny_file_of_very_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, suffix: str, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever Pillow's own global limit and the filters of warnings say."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded"))
    path = bomb(tmp_path / f"bomb{suffix}", 10_000, 9_000)
    for read in (read_header, read_picture):
        with pytest.raises(Unreadable, match="more than 89,478,485 pixels"):
            read(path)


def test_a_file_too_large_for_a_picture_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.webp"
    with path.open("wb") as file:
        file.write(b"RIFF\xff\xff\xff\xffWEBPVP8L")
        file.truncate(2**30 + 1)  # sparse: it takes no place
    with pytest.raises(Unreadable, match="more than 1,073,741,824"):
        read_header(path)
