"""Images of another size, or with another number of channels."""

from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped
from PIL import Image

from loang.data.images import Images
from loang.errors import LoangError

ROWS = 1024
Fit = Literal["crop", "pad", "stretch"]
# ITU-R BT.601 luma, in 65536ths that add up to 65536: grey stored as RGB comes back exactly.
LUMA = (19595, 38470, 7471)


def resize(images: Images, height: int, width: int) -> Images:
    """Scaled until they cover height x width, bilinearly with half-pixel centres, then cropped.

    What is cut off is the same on both sides. Shrinking smooths first, so that nothing aliases.
    """
    if (height, width) == (images.spec.height, images.spec.width):
        return images
    import torch  # takes a second, and folders and files do without it
    from torch.nn.functional import interpolate

    top, left, rows, columns = _centre(images.spec.height, images.spec.width, height, width)
    result = np.empty((len(images), height, width, images.spec.channels), images.spec.depth)
    for start in range(0, len(images), ROWS):
        piece = images[start : start + ROWS][:, top : top + rows, left : left + columns]
        x = torch.from_numpy(piece.astype(np.float32)).permute(0, 3, 1, 2)
        x = interpolate(x, (height, width), mode="bilinear", antialias=True, align_corners=False)
        values = x.permute(0, 2, 3, 1).numpy()
        if images.spec.depth != "float32":
            values = np.rint(values)
        result[start : start + ROWS] = values
    spec = replace(images.spec, height=height, width=width)
    return replace(images, stored=result, spec=spec, rows=None)


def convert_channels(images: Images, channels: int) -> Images:
    """Grey, RGB or RGBA made of one another; see `convert_pixels`.

    Raises:
        LoangError: from or to another number of channels than 1, 3 or 4.
    """
    spec = images.spec
    if channels == spec.channels:
        return images
    if not {channels, spec.channels} <= {1, 3, 4}:
        raise LoangError(
            f"Images of {spec.channels} channels cannot be turned into images of {channels}.",
            "Only 1 (grey), 3 (RGB) and 4 (RGBA) turn into one another; leave --channels out.",
        )
    result = np.empty((len(images), spec.height, spec.width, channels), spec.depth)
    for start in range(0, len(images), ROWS):
        piece = images[start : start + ROWS]
        result[start : start + ROWS] = convert_pixels(piece, channels, spec.low, spec.high)
    return replace(images, stored=result, spec=replace(spec, channels=channels), rows=None)


def convert_pixels(
    pixels: Shaped[np.ndarray, "*n h w c"],
    channels: int,
    low: float,
    high: float,
    background: str = "white",
) -> Shaped[np.ndarray, "*n h w d"]:
    """Pixels of 1, 3 or 4 channels with 1, 3 or 4 channels, at their own depth.

    Grey is repeated; colour becomes its luma (BT.601); what is transparent is laid on white
    (`high`) or black (`low`); alpha is `high`, that is opaque, where there was none.
    """
    if pixels.shape[-1] == channels:
        return pixels
    if pixels.shape[-1] == 4:
        pixels = _laid(pixels, low, high, background)
    if channels == 1 and pixels.shape[-1] == 3:
        luma = pixels.astype(np.float64) @ (np.array(LUMA) / 65536)
        return _at_depth(luma[..., np.newaxis], pixels.dtype)
    if channels >= 3 and pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    if channels == 4:
        opaque = np.full((*pixels.shape[:-1], 1), high, pixels.dtype)
        pixels = np.concatenate([pixels, opaque], axis=-1)
    return pixels


def resize_picture(
    picture: Shaped[np.ndarray, "h w c"],
    height: int,
    width: int,
    fit: Fit = "crop",
    background: float = 0.0,
    alpha: bool = False,
) -> Shaped[np.ndarray, "height width c"]:
    """One picture at another size, in its own depth, whole numbers rounded.

    Lanczos where it shrinks, bilinear where it grows: what keeps most detail without inventing.
    What Lanczos makes brighter or darker than anything in the picture is cut to its own range, but
    for grey and colours of 8 bits, where it may go beyond by a few values as Pillow's does.

    Args:
        picture: uint8, uint16 or float32.
        height: of the result.
        width: of the result.
        fit: "crop" scales until the picture covers height x width, and cuts out the centre; "pad"
            scales until it fits within, and adds background; "stretch" scales each side alone.
        background: the value that "pad" adds.
        alpha: whether the last of four channels is opacity.
    """
    tall, wide = picture.shape[:2]
    if (tall, wide) == (height, width):
        return picture
    if fit == "pad":
        result = np.full((height, width, picture.shape[2]), background, picture.dtype)
        place = inner(tall, wide, height, width)
        rows, columns = result[place].shape[:2]
        result[place] = resize_picture(picture, rows, columns, "stretch", alpha=alpha)
        return result
    box = (0.0, 0.0, float(wide), float(tall))
    if fit == "crop":
        scale = max(height / tall, width / wide)
        top, left = (tall - height / scale) / 2, (wide - width / scale) / 2
        box = (max(left, 0.0), max(top, 0.0), min(wide - left, wide), min(tall - top, tall))
    shrinks = height * width < (box[3] - box[1]) * (box[2] - box[0])
    how = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BILINEAR
    if picture.dtype == np.uint8 and picture.shape[2] in (1, 3):
        whole = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
        return np.asarray(whole.resize((width, height), how, box)).reshape(height, width, -1)

    def scaled(values: Float[np.ndarray, "h w c"]) -> Float[np.ndarray, "height width c"]:
        planes = [Image.fromarray(np.ascontiguousarray(v)) for v in np.moveaxis(values, -1, 0)]
        return np.stack([np.asarray(p.resize((width, height), how, box)) for p in planes], axis=-1)

    values = picture.astype(np.float32)
    if not alpha:
        result = scaled(values)
    else:
        # Colours count as much as they are seen: what is invisible must not shine through.
        seen = scaled(values[..., 3:])
        colours = scaled(values[..., :3] * values[..., 3:]) / np.maximum(seen, 1e-6)
        result = np.concatenate([np.where(seen > 0, colours, 0), seen], axis=-1)
    return _at_depth(result.clip(picture.min(), picture.max()), picture.dtype)


def inner(tall: int, wide: int, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns that a picture of tall x wide takes in the middle of height x width."""
    scale = min(height / tall, width / wide)
    rows = min(height, max(1, round(tall * scale)))
    columns = min(width, max(1, round(wide * scale)))
    top, left = (height - rows) // 2, (width - columns) // 2
    return slice(top, top + rows), slice(left, left + columns)


def _centre(tall: int, wide: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the largest centred window of height:width."""
    scale = max(height / tall, width / wide)
    rows, columns = (
        min(tall, max(1, round(height / scale))),
        min(wide, max(1, round(width / scale))),
    )
    return (tall - rows) // 2, (wide - columns) // 2, rows, columns


def _laid(
    pixels: Shaped[np.ndarray, "*n h w 4"], low: float, high: float, background: str
) -> Shaped[np.ndarray, "*n h w 3"]:
    colour = pixels[..., :3].astype(np.float64)
    alpha = (pixels[..., 3:].astype(np.float64) - low) / (high - low)
    behind = high if background == "white" else low
    return _at_depth(colour * alpha + behind * (1.0 - alpha), pixels.dtype)


def _at_depth(values: Float[np.ndarray, "..."], depth: np.dtype) -> Shaped[np.ndarray, "..."]:
    return (values if depth.kind == "f" else np.rint(values)).astype(depth)
