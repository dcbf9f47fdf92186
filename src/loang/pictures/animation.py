"""Frames in, one moving picture out: GIF, WebP or animated PNG. Also still pictures."""

import struct
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

from PIL import GifImagePlugin, Image

from loang.files import replacing
from loang.pictures.formats import check_sides, format_of

FORMATS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}
# Viewers show a GIF frame of less than 20 ms for 100 ms: what was to be fast would be slow.
SHORTEST_MS = 20
# Far below what GIF (655 s) and PNG can state, so that a merged frame plus a hold still fits.
LONGEST_MS = 300_000
GREY_RAMP = bytes(level for level in range(256) for _ in "rgb")


def save_image(image: Image.Image, path: str | PathLike[str]) -> None:
    """Write one picture; it appears under its name whole or not at all.

    Args:
        image: in mode L, RGB or RGBA.
        path: ends in .png, .webp or .gif; the first two keep the value of each pixel that can be
            seen, and so does GIF for grey.

    Raises:
        LoangError: another suffix, or a picture that is too large for it.
    """
    target = Path(path)
    kind = format_of(target, FORMATS, "pictures")
    check_sides(target, *image.size)
    with replacing(target) as beside:
        if kind == "GIF":
            _write_gif(iter([(image, 0)]), beside)
        else:
            # Pillow leaves the encoder's settings on what it saved, and a GIF of it then fails.
            image.copy().save(beside, kind, lossless=True)  # a word for WebP; PNG passes it over


def save_animation(
    frames: Iterable[Image.Image],
    path: str | PathLike[str],
    *,
    frame_ms: int = 40,
    hold_ms: int = 2000,
) -> None:
    """Write frames as an animation that loops forever and rests on its last frame.

    A GIF is written as the frames come, with two of them in memory at a time; WebP and PNG need
    all frames at once. Grey GIFs, WebP and PNG keep the value of each pixel that can be seen.
    Each RGB frame of a GIF has its own palette of 256 colours, without dithering;
    RGBA is laid on white there.
    Frames that repeat the one before them are stored once and shown for longer.

    Args:
        frames: pictures of one size and one mode (L, RGB or RGBA), at least one.
        path: ends in .gif, .webp or .png.
        frame_ms: how long a frame is shown, in milliseconds, rounded to 10; from 20 to 300 000.
        hold_ms: how much longer the last frame is shown, likewise rounded; from 0 to 300 000.

    Raises:
        LoangError: another suffix, or frames that are too large for it.
        ValueError: no frames, frames of different sizes or modes, or a duration out of range.
    """
    target = Path(path)
    kind = format_of(target, FORMATS, "animations")
    if not SHORTEST_MS <= frame_ms <= LONGEST_MS:
        raise ValueError(f"{frame_ms=} is not between {SHORTEST_MS} and {LONGEST_MS}")
    if not 0 <= hold_ms <= LONGEST_MS:
        raise ValueError(f"{hold_ms=} is not between 0 and {LONGEST_MS}")
    frames = _fitting(frames, target)
    timed = _timed(frames, round(frame_ms / 10) * 10, round(hold_ms / 10) * 10)
    with replacing(target) as beside:
        if kind == "GIF":
            _write_gif(timed, beside)
        else:
            pictures, durations = zip(*timed, strict=True)
            pictures[0].save(
                beside,
                kind,
                save_all=True,
                append_images=pictures[1:],
                duration=list(durations),
                loop=0,
                lossless=True,
            )


def _fitting(frames: Iterable[Image.Image], target: Path) -> Iterator[Image.Image]:
    """The same frames, if the file can hold them."""
    for frame in frames:
        check_sides(target, *frame.size)
        yield frame


def _timed(
    frames: Iterable[Image.Image], frame_ms: int, hold_ms: int
) -> Iterator[tuple[Image.Image, int]]:
    """Each frame that differs from the one before it, and the milliseconds it is shown."""
    iterator = iter(frames)
    shown = next(iterator, None)
    if shown is None:
        raise ValueError("an animation needs at least one frame")
    if shown.mode not in ("L", "RGB", "RGBA"):
        raise ValueError(f"frames are in mode L, RGB or RGBA, not {shown.mode}")
    pixels, milliseconds = shown.tobytes(), frame_ms
    for frame in iterator:
        if (frame.mode, frame.size) != (shown.mode, shown.size):
            raise ValueError(
                f"a frame of {frame.size} in {frame.mode} follows {shown.size} in {shown.mode}"
            )
        following = frame.tobytes()
        if following == pixels and milliseconds + frame_ms <= LONGEST_MS:
            milliseconds += frame_ms
        else:
            yield shown, milliseconds
            shown, pixels, milliseconds = frame, following, frame_ms
    yield shown, milliseconds + hold_ms


def _write_gif(timed: Iterator[tuple[Image.Image, int]], path: Path) -> None:
    """A GIF, frame by frame: Pillow's own writer would keep every frame until the last came."""
    with path.open("wb") as file:
        for index, (frame, milliseconds) in enumerate(timed):
            if index == 0:
                # Screen size; a global table of 256 colours (0xF7): the greys; loop without end.
                file.write(b"GIF89a" + struct.pack("<HHBBB", *frame.size, 0xF7, 0, 0) + GREY_RAMP)
                file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
            indexed = frame if frame.mode == "L" else _indexed(frame)
            blocks = GifImagePlugin.getdata(
                indexed, duration=milliseconds, include_color_table=indexed.mode == "P"
            )
            file.write(b"".join(blocks))
        file.write(b";")


def _indexed(frame: Image.Image) -> Image.Image:
    """The frame in at most 256 colours, exact where it has no more; transparent turns white."""
    if frame.mode == "RGBA":
        white = Image.new("RGBA", frame.size, "white")
        frame = Image.alpha_composite(white, frame)
    return frame.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT)
