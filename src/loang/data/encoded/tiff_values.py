"""From the values of a TIFF as they are stored to grey, colours and opacity at loang's depths."""

import numpy as np
from jaxtyping import Float32, Shaped

from loang.data.encoded.header import Unreadable
from loang.data.encoded.tiff_layout import CMYK, PREMULTIPLIED, UNSIGNED, WHITE_IS_ZERO, Layout

TOO_LONG = "some of its whole numbers need more than the 24 bits of a float32"
NO_OPACITY = (
    "its opacity is real numbers beyond 0..1; if that is a channel as others are, save it as one"
    " that nothing is said of (ExtraSamples 0)"
)
NOT_FINITE = "some of its values are not finite (NaN or infinity), or too large for a float32"


def to_picture(stored: Shaped[np.ndarray, "h w s"], layout: Layout) -> Shaped[np.ndarray, "h w c"]:
    """What a layout's header announces, but for the orientation.

    Raises:
        Unreadable: a value is not finite, or no float32; opacity in real numbers leaves 0..1.
    """
    if stored.dtype == bool:
        stored = stored.view(np.uint8)
    if layout.photometric == WHITE_IS_ZERO and layout.format == UNSIGNED:
        stored = stored.copy()
        stored[..., 0] = (1 << layout.bits) - 1 - stored[..., 0]
    if layout.depth == "float32":
        pixels = as_float32(stored)
    elif layout.bits < 8:
        most = (1 << layout.bits) - 1
        pixels = ((stored.astype(np.uint16) * 255 + most // 2) // most).astype(np.uint8)
    else:
        pixels = stored.astype(layout.depth, copy=False)
    if layout.photometric == CMYK:
        return _from_cmyk(pixels, (1 << layout.bits) - 1)
    if layout.opacity:
        return _with_opacity(pixels, layout)
    return pixels


def as_float32(values: Shaped[np.ndarray, "*s"]) -> Float32[np.ndarray, "*s"]:
    """Real numbers rounded to float32, whole ones unchanged.

    Raises:
        Unreadable: a value is not finite, or a whole number that float32 can't hold.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found = values.astype(np.float32, copy=False)
        if values.dtype.kind != "f":
            same = (found.astype(np.float64) == values) & (np.abs(found) <= 2.0**53)
            if not same.all():
                raise Unreadable(TOO_LONG)
    if not np.isfinite(found).all():
        raise Unreadable(NOT_FINITE)
    return found


def _from_cmyk(pixels: Shaped[np.ndarray, "h w 4"], most: int) -> Shaped[np.ndarray, "h w 3"]:
    """Red is (1 - cyan)(1 - black), and so on, as Pillow has it for 8 bits."""
    rest = most - pixels.astype(np.uint64)
    mixed = (rest[..., :3] * rest[..., 3:] + most // 2) // most
    return mixed.astype(pixels.dtype)


def _with_opacity(
    pixels: Shaped[np.ndarray, "h w s"], layout: Layout
) -> Shaped[np.ndarray, "h w 4"]:
    """RGBA, colours as they are where nothing shines through."""
    colours, opacity = pixels[..., :-1], pixels[..., -1:]
    if layout.depth == "float32" and not (opacity.min() >= 0 and opacity.max() <= 1):
        raise Unreadable(NO_OPACITY)
    if layout.opacity == PREMULTIPLIED:
        most = 1.0 if layout.depth == "float32" else float((1 << layout.bits) - 1)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            whole = colours.astype(np.float64) * most / opacity
        whole = np.where(opacity > 0, whole, 0)
        if layout.depth == "float32":
            colours = as_float32(whole)
        else:
            colours = np.minimum(np.rint(whole), most).astype(pixels.dtype)
    if colours.shape[-1] == 1:
        colours = np.repeat(colours, 3, axis=-1)
    return np.concatenate([colours, opacity], axis=-1)
